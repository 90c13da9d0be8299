"""How much waits in the queue, and how much lanes have finished. Async; the gateway only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

_WAITING = text("SELECT pool, owner_id, count(*) AS waiting FROM queue WHERE lane IS NULL GROUP BY 1, 2")
_FINISHED = text(
    "SELECT pool, sum(finished)::bigint AS finished FROM lanes CROSS JOIN unnest(pools) AS pool GROUP BY 1"
)

_DEPTHS = text(
    """
    SELECT pool, count(*) FILTER (WHERE lane IS NULL) AS waiting, count(lane) AS running,
           extract(epoch FROM now() - min(enqueued_at) FILTER (WHERE lane IS NULL))::float8 AS oldest_seconds
    FROM queue GROUP BY pool ORDER BY pool
    """
)


@dataclass(frozen=True, slots=True)
class Depth:
    """What is in a pool's queue now; `oldest_seconds` is how long the oldest has waited, 0 for none."""

    pool: str
    waiting: int
    running: int
    oldest_seconds: float


async def depths(engine: AsyncEngine) -> list[Depth]:
    """The queue of each pool that has any. Reads the whole queue, which is narrow."""
    async with engine.connect() as connection:
        rows = await connection.execute(_DEPTHS)
        return [Depth(row.pool, row.waiting, row.running, row.oldest_seconds or 0.0) for row in rows]


@dataclass(frozen=True, slots=True)
class BacklogCount:
    """Waiting predictions by pool and by owner, and what the living lanes of each pool have finished."""

    by_pool: Mapping[str, int]
    by_owner: Mapping[str, int]
    finished: Mapping[str, int]


async def count_backlog(engine: AsyncEngine) -> BacklogCount:
    """Count now. Reads the whole queue, which is narrow."""
    by_pool: Counter[str] = Counter()
    by_owner: Counter[str] = Counter()
    async with engine.connect() as connection:
        for row in await connection.execute(_WAITING):
            by_pool[row.pool] += row.waiting
            by_owner[row.owner_id] += row.waiting
        finished = {row.pool: row.finished for row in await connection.execute(_FINISHED)}
    return BacklogCount(by_pool, by_owner, finished)
