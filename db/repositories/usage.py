"""What users have used. Async; the gateway only."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from db.ids import floor_id

# Ids carry their time: a range of the index by owner, in the partitions of that time.
_RUN_SECONDS = text(
    "SELECT coalesce(sum(extract(epoch FROM completed_at - started_at)), 0) FROM predictions"
    " WHERE owner_id = :owner AND id >= :oldest AND started_at IS NOT NULL AND completed_at IS NOT NULL"
)


async def run_seconds(session: AsyncSession, owner_id: str, *, since: datetime) -> float:
    """How long the owner's predictions that were made since then have run, of those that have ended."""
    found = await session.scalar(_RUN_SECONDS, {"owner": owner_id, "oldest": floor_id(since)})
    return float(found or 0)
