"""Which pools have work to do, and which lanes are there to do it."""

from __future__ import annotations

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from db.tables import Lane

_POOLS_IN_USE = text(
    """
    SELECT pool FROM (SELECT DISTINCT model_type AS pool FROM model_versions) AS known
    WHERE EXISTS (SELECT 1 FROM models m JOIN model_versions v ON v.id = m.latest_version_id
                  WHERE v.model_type = known.pool)
       OR EXISTS (SELECT 1 FROM queue q WHERE q.pool = known.pool)
    ORDER BY pool
    """
)


async def pools_in_use(session: AsyncSession) -> list[str]:
    """The pools that serve some model's latest version, or in which a prediction waits."""
    return list(await session.scalars(_POOLS_IN_USE))


async def live_lanes(session: AsyncSession, *, lease_seconds: float) -> dict[str, int]:
    """How many lanes of each pool have been heard of within `lease_seconds`, by the server's clock."""
    alive = Lane.last_seen > func.now() - func.make_interval(0, 0, 0, 0, 0, 0, lease_seconds)
    lanes = select(func.unnest(Lane.pools).label("pool")).where(alive).subquery()
    counted = await session.execute(select(lanes.c.pool, func.count()).group_by(lanes.c.pool))
    return {row[0]: row[1] for row in counted}
