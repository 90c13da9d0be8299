"""Which versions are in which lanes' memory, and orders to change that. Async; for the gateway."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession


@dataclass(frozen=True, slots=True)
class Residency:
    """How many live lanes hold a version, and why the last lane that tried could not load it."""

    lanes: int = 0
    unavailable: str | None = None


_ALIVE = "last_seen > now() - make_interval(secs => :lease_seconds)"

_RESIDENCIES = text(
    f"""
    SELECT v.id, (SELECT count(*) FROM lanes WHERE {_ALIVE} AND v.id = ANY(resident)) AS lanes, u.reason
    FROM unnest(CAST(:versions AS text[])) AS v (id)
    LEFT JOIN unavailable_versions u ON u.version_id = v.id COLLATE "C"
    """
)


async def residencies(
    session: AsyncSession, versions: Collection[str], *, lease_seconds: float
) -> dict[str, Residency]:
    """What holds for each of these versions, by the lanes heard of within `lease_seconds`."""
    parameters = {"versions": list(versions), "lease_seconds": lease_seconds}
    rows = await session.execute(_RESIDENCIES, parameters)
    return {row.id: Residency(row.lanes, row.reason) for row in rows}


_HAS_LIVE_LANES = text(f"SELECT EXISTS (SELECT 1 FROM lanes WHERE :pool = ANY(pools) AND {_ALIVE})")

_FORGET_REASON = text("DELETE FROM unavailable_versions WHERE version_id = :version")

_RECALL_UNLOADS = text("DELETE FROM lane_orders WHERE version_id = :version AND action = 'unload'")

_ORDER_LOAD = text(
    f"""
    WITH live AS (
        SELECT id, CAST(:version AS text) = ANY(resident) AS holds, cardinality(resident) AS held FROM lanes
        WHERE :pool = ANY(pools) AND {_ALIVE}
    )
    INSERT INTO lane_orders (lane_id, version_id, action)
    SELECT id, CAST(:version AS text), 'load' FROM live WHERE NOT holds ORDER BY held, id
    LIMIT greatest(0, :lanes - (SELECT count(*) FROM live WHERE holds))
    ON CONFLICT (lane_id, version_id) DO UPDATE SET action = excluded.action
    """
)


async def order_load(
    session: AsyncSession, version_id: str, pool: str, *, lanes: int, lease_seconds: float
) -> bool:
    """Have the version loaded in so many lanes of its pool, or in all if there are fewer.

    Those that hold it count; those that hold the least come first. Why it could not be loaded before is
    forgotten. False when the pool has no live lane.
    """
    parameters = {"version": version_id, "pool": pool, "lease_seconds": lease_seconds, "lanes": lanes}
    if not await session.scalar(_HAS_LIVE_LANES, parameters):
        return False
    await session.execute(_FORGET_REASON, parameters)
    await session.execute(_RECALL_UNLOADS, parameters)
    await session.execute(_ORDER_LOAD, parameters)
    return True


_ORDER_UNLOAD = text(
    """
    INSERT INTO lane_orders (lane_id, version_id, action)
    SELECT lanes.id, v.id, 'unload' FROM lanes, unnest(CAST(:versions AS text[])) AS v (id)
    ON CONFLICT (lane_id, version_id) DO UPDATE SET action = excluded.action
    """
)


async def order_unload(session: AsyncSession, versions: Sequence[str]) -> None:
    """Have these versions unloaded wherever they are, or are being loaded just now."""
    await session.execute(_ORDER_UNLOAD, {"versions": list(versions)})
