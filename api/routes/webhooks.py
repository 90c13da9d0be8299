"""Webhooks: the key that signs them, the log of what was sent, and sending it again."""

from __future__ import annotations

from operator import attrgetter
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response, status

from api.access import Creator, Reader
from api.gateway import gateway_of
from api.pages import MAX_LIMIT, CursorQuery, LimitQuery, Page, page
from api.schemas import webhooks as wire
from api.schemas.fields import PlainText
from api.services import webhooks
from db.repositories.webhooks import DeliveryStatus

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"])


@router.get("/default/secret")
async def secret(request: Request, response: Response, principal: Reader) -> wire.SigningKey:
    """The key that signs the caller's webhooks."""
    response.headers["Cache-Control"] = "no-store"
    return wire.SigningKey(key=await webhooks.secret(gateway_of(request), principal))


@router.post("/default/secret/rotate")
async def rotate_secret(request: Request, response: Response, principal: Creator) -> wire.RotatedKey:
    """A new key for the caller's webhooks. For a day they are signed with the old one too."""
    response.headers["Cache-Control"] = "no-store"
    key, retires_at = await webhooks.rotate_secret(gateway_of(request), principal)
    return wire.RotatedKey(key=key, previous_retires_at=retires_at)


@router.get("/deliveries", response_model=wire.DeliveryPage)
async def deliveries(
    request: Request,
    principal: Reader,
    cursor: CursorQuery,
    prediction_id: Annotated[PlainText | None, Query(max_length=100)] = None,
    status: DeliveryStatus | None = None,
    limit: LimitQuery = MAX_LIMIT,
) -> Page:
    """What the receivers of one's predictions were told, the newest first; everybody's for administrators."""
    rows = await webhooks.deliveries(
        gateway_of(request),
        principal,
        prediction_id=prediction_id,
        status=status,
        limit=limit,
        cursor=cursor,
    )
    shown = [wire.Delivery.of(row) for row in rows]
    return page(request, shown, limit=limit, cursor=cursor, key=attrgetter("id"))


@router.get("/deliveries/{delivery_id}")
async def delivery(request: Request, principal: Reader, delivery_id: str) -> wire.DeliveryLog:
    """A delivery and what came of each attempt to make it."""
    gateway = gateway_of(request)
    row = await webhooks.delivery(gateway, principal, delivery_id)
    return wire.DeliveryLog.with_attempts(row, await webhooks.attempts(gateway, row))


@router.post("/deliveries/{delivery_id}/replay", status_code=status.HTTP_202_ACCEPTED)
async def replay(request: Request, principal: Creator, delivery_id: str) -> wire.Delivery:
    """Have a delivery made again, now, under the same id. 409 while it is still to be made."""
    return wire.Delivery.of(await webhooks.replay(gateway_of(request), principal, delivery_id))
