"""Webhooks after the fact: what they are signed with, what was sent, and sending it again."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from api.credentials import Principal
from db.errors import Conflict, NotFound
from db.repositories import webhooks
from db.repositories.keyset import Cursor
from db.repositories.transactions import read, write
from db.repositories.webhooks import DeliveryStatus
from db.tables import WebhookAttempt, WebhookDelivery

if TYPE_CHECKING:
    from api.gateway import Gateway


class DeliveryPending(Conflict):
    """The delivery is still to be made."""


async def secret(gateway: Gateway, principal: Principal) -> str:
    """The key that signs the caller's webhooks, made when it is first asked for."""
    found = await read(gateway.engine, lambda session: webhooks.secret(session, principal.id))
    if found is None:
        async with write(gateway.engine) as session:
            found = await webhooks.make_secret(session, principal.id)
    return _existing(found)


async def rotate_secret(gateway: Gateway, principal: Principal) -> tuple[str, datetime | None]:
    """A new key for the caller's webhooks, and until when the old one signs too."""
    async with write(gateway.engine) as session:
        new, retires_at = await webhooks.rotate_secret(session, principal.id)
    return _existing(new), retires_at


def _existing(secret: str | None) -> str:
    if secret is None:
        raise NotFound("this account does not exist any more")
    return secret


async def deliveries(
    gateway: Gateway,
    principal: Principal,
    *,
    prediction_id: str | None,
    status: DeliveryStatus | None,
    limit: int,
    cursor: Cursor | None,
) -> list[WebhookDelivery]:
    """A keyset page of the caller's deliveries; of everybody's for administrators."""
    return await read(
        gateway.engine,
        lambda session: webhooks.browse(
            session,
            owner_id=None if principal.is_admin else principal.id,
            prediction_id=prediction_id,
            status=status,
            limit=limit,
            cursor=cursor,
        ),
    )


async def delivery(gateway: Gateway, principal: Principal, delivery_id: str) -> WebhookDelivery:
    """The delivery of this id. Raises `NotFound`, also for one that is not this caller's to see."""
    found = await read(gateway.engine, lambda session: webhooks.by_id(session, delivery_id))
    if found is None or not (principal.is_admin or found.owner_id == principal.id):
        raise NotFound(f"there is no delivery {delivery_id!r}")
    return found


async def attempts(gateway: Gateway, delivery: WebhookDelivery) -> list[WebhookAttempt]:
    """What came of each attempt to make a delivery, the first one first."""
    return await read(gateway.engine, lambda session: webhooks.attempts_of(session, delivery.id))


async def replay(gateway: Gateway, principal: Principal, delivery_id: str) -> WebhookDelivery:
    """Have a delivery made again, now. Raises `NotFound`, and `DeliveryPending` while it is to be made."""
    await delivery(gateway, principal, delivery_id)
    async with write(gateway.engine) as session:
        again = await webhooks.send_again(session, delivery_id)
    if again is None:
        raise DeliveryPending("it is still to be told, or being told right now")
    return again
