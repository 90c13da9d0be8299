"""Which pools have work to do, and which lanes are there to do it."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from db.tables import Lane

_POOLS_IN_USE = text(
    """
    SELECT pool FROM (SELECT DISTINCT model_type AS pool FROM model_versions) AS known
    WHERE EXISTS (SELECT 1 FROM models m JOIN model_versions v ON v.id = m.latest_version_id
                  WHERE v.model_type = known.pool)
       OR EXISTS (SELECT 1 FROM deployments d JOIN model_versions v ON v.id = d.version_id
                  WHERE v.model_type = known.pool)
       OR EXISTS (SELECT 1 FROM queue q WHERE q.pool = known.pool)
    ORDER BY pool
    """
)


async def pools_in_use(session: AsyncSession) -> list[str]:
    """The pools that serve some model's latest version or a deployment, or in which a prediction waits."""
    return list(await session.scalars(_POOLS_IN_USE))


async def live_lanes(session: AsyncSession, *, lease_seconds: float) -> dict[str, int]:
    """How many lanes of each pool have been heard of within `lease_seconds`, by the server's clock."""
    lanes = select(func.unnest(Lane.pools).label("pool")).where(_is_alive(lease_seconds)).subquery()
    counted = await session.execute(select(lanes.c.pool, func.count()).group_by(lanes.c.pool))
    return {row[0]: row[1] for row in counted}


async def alive(session: AsyncSession, *, lease_seconds: float) -> Sequence[Lane]:
    """The lanes that have been heard of within `lease_seconds`, by host and slot."""
    query = select(Lane).where(_is_alive(lease_seconds)).order_by(Lane.host, Lane.slot, Lane.id)
    return (await session.scalars(query)).all()


async def devices(session: AsyncSession, *, lease_seconds: float) -> Sequence[str]:
    """The kinds of device of the lanes that have been heard of within `lease_seconds`: cpu, cuda, mps."""
    query = select(Lane.device).where(_is_alive(lease_seconds), Lane.device != "").distinct()
    return (await session.scalars(query)).all()


def _is_alive(lease_seconds: float) -> ColumnElement[bool]:
    return Lane.last_seen > func.now() - func.make_interval(0, 0, 0, 0, 0, 0, lease_seconds)
