"""The log of webhooks, and the keys that they are signed with. Async; the gateway only."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from sqlalchemy import ColumnElement, and_, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from db.repositories.keyset import Cursor, keyset
from db.tables import WebhookAttempt, WebhookDelivery
from db.webhook_secrets import CURRENT, MAKE, new_secret

# Receivers have so long to learn the new key.
RETIREMENT_HOURS = 24

DeliveryStatus = Literal["pending", "delivered", "failed"]

_IS: dict[DeliveryStatus, ColumnElement[bool]] = {
    "pending": WebhookDelivery.next_attempt_at.is_not(None),
    "delivered": and_(WebhookDelivery.next_attempt_at.is_(None), WebhookDelivery.delivered_at.is_not(None)),
    "failed": and_(WebhookDelivery.next_attempt_at.is_(None), WebhookDelivery.delivered_at.is_(None)),
}

_LOCK_USER = text("SELECT id FROM users WHERE id = :user FOR UPDATE")
_FORGET_RETIRING = text("DELETE FROM webhook_secrets WHERE user_id = :user AND retires_at IS NOT NULL")
_RETIRE = text(
    "UPDATE webhook_secrets SET retires_at = now() + make_interval(hours => :hours)"
    " WHERE user_id = :user AND retires_at IS NULL RETURNING retires_at"
)


async def browse(
    session: AsyncSession,
    *,
    owner_id: str | None,
    prediction_id: str | None,
    status: DeliveryStatus | None,
    limit: int,
    cursor: Cursor | None,
) -> list[WebhookDelivery]:
    """A keyset page (`limit` + 1 rows) of deliveries, of one owner or of all."""
    query = select(WebhookDelivery)
    if owner_id is not None:
        query = query.where(WebhookDelivery.owner_id == owner_id)
    if prediction_id is not None:
        query = query.where(WebhookDelivery.prediction_id == prediction_id)
    if status is not None:
        query = query.where(_IS[status])
    page = keyset(query, WebhookDelivery.id.expression, limit=limit, cursor=cursor)
    return list(await session.scalars(page))


async def by_id(session: AsyncSession, delivery_id: str) -> WebhookDelivery | None:
    return await session.get(WebhookDelivery, delivery_id)


async def attempts_of(session: AsyncSession, delivery_id: str) -> list[WebhookAttempt]:
    """Its attempts so far, the first one first."""
    query = select(WebhookAttempt).where(WebhookAttempt.delivery_id == delivery_id)
    return list(await session.scalars(query.order_by(WebhookAttempt.attempt)))


async def send_again(session: AsyncSession, delivery_id: str) -> WebhookDelivery | None:
    """Have it told once more, now; None when it is still to be told."""
    statement = (
        update(WebhookDelivery)
        .where(WebhookDelivery.id == delivery_id, WebhookDelivery.next_attempt_at.is_(None))
        .values(next_attempt_at=func.now())
        .returning(WebhookDelivery)
    )
    return (await session.scalars(statement)).one_or_none()


async def secret(session: AsyncSession, user_id: str) -> str | None:
    """The key that a user's webhooks are signed with; None when there is none yet."""
    found: str | None = await session.scalar(CURRENT, {"user": user_id})
    return found


async def make_secret(session: AsyncSession, user_id: str) -> str | None:
    """The user's key, made if there was none; None when there is no such user."""
    await session.execute(MAKE, {"user": user_id, "secret": new_secret()})
    return await secret(session, user_id)


async def rotate_secret(session: AsyncSession, user_id: str) -> tuple[str | None, datetime | None]:
    """A new key, and until when the last one signs too; the one before that signs no more.

    No key when there is no such user.
    """
    # One rotation after the other, so that each sees the key that the last one made.
    await session.execute(_LOCK_USER, {"user": user_id})
    await session.execute(_FORGET_RETIRING, {"user": user_id})
    retires_at = await session.scalar(_RETIRE, {"user": user_id, "hours": RETIREMENT_HOURS})
    return await make_secret(session, user_id), retires_at
