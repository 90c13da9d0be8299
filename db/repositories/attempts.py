"""Keys of attempts at the same request, which a later attempt may take over. Async; the gateway only."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

_TAKE_OVER = text(
    """
    UPDATE idempotency_keys SET key = :key, created_at = now()
    WHERE owner_id = :owner AND key = (
        SELECT key FROM idempotency_keys
        WHERE owner_id = :owner AND key >= :first AND key < :last
          AND created_at > now() - make_interval(secs => :seconds)
        ORDER BY key LIMIT 1 FOR UPDATE SKIP LOCKED
    )
    RETURNING prediction_id
    """
)
_DROP = text("DELETE FROM idempotency_keys WHERE owner_id = :owner AND key = :key")


async def take_over(
    session: AsyncSession, owner_id: str, *, key: str, first: str, last: str, seconds: float
) -> str | None:
    """The prediction of one of the owner's keys from `first` to before `last`, which is renamed to `key`.

    One that is younger than so many seconds, and that nobody else takes at this moment.
    """
    parameters = {"owner": owner_id, "key": key, "first": first, "last": last, "seconds": seconds}
    found: str | None = await session.scalar(_TAKE_OVER, parameters)
    return found


async def drop(session: AsyncSession, owner_id: str, key: str) -> None:
    """The key stands for nothing from now on."""
    await session.execute(_DROP, {"owner": owner_id, "key": key})
