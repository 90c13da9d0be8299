"""How much waits in the queue, and how much lanes have finished. Async; the gateway only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from db.states import Priority

_WAITING = text(
    f"""
    SELECT pool, owner_id, count(*) AS waiting,
           count(*) FILTER (WHERE priority < {Priority.BATCH:d}) AS bounded
    FROM queue WHERE lane IS NULL GROUP BY 1, 2
    """
)
_FINISHED = text(
    "SELECT pool, sum(finished)::bigint AS finished FROM lanes CROSS JOIN unnest(pools) AS pool GROUP BY 1"
)

# Enough of each pool's ranks to tell a place: all of them up to a thousand, else every thousandth part.
RANKS = 1000
_RANKS = text(
    f"""
    SELECT pool, percentile_disc(ARRAY(SELECT n / {RANKS}::float8 FROM generate_series(1, {RANKS}) n))
                 WITHIN GROUP (ORDER BY rank) AS ranks
    FROM queue WHERE lane IS NULL GROUP BY pool
    """
)

_DEPTHS = text(
    """
    SELECT q.pool, d.owner || '/' || d.name AS deployment,
           count(*) FILTER (WHERE lane IS NULL) AS waiting, count(lane) AS running,
           extract(epoch FROM now() - min(enqueued_at) FILTER (WHERE lane IS NULL))::float8 AS oldest_seconds
    FROM queue q LEFT JOIN deployments d USING (pool) GROUP BY q.pool, d.id ORDER BY q.pool
    """
)


@dataclass(frozen=True, slots=True)
class Depth:
    """What is in a pool's queue now; `oldest_seconds` is how long the oldest has waited, 0 for none.

    `deployment` is whose pool it is, `owner/name`; None for a model type's own.
    """

    pool: str
    deployment: str | None
    waiting: int
    running: int
    oldest_seconds: float


async def depths(engine: AsyncEngine) -> list[Depth]:
    """The queue of each pool that has any. Reads the whole queue, which is narrow."""
    async with engine.connect() as connection:
        rows = await connection.execute(_DEPTHS)
        return [
            Depth(row.pool, row.deployment, row.waiting, row.running, row.oldest_seconds or 0.0)
            for row in rows
        ]


@dataclass(frozen=True, slots=True)
class BacklogCount:
    """Waiting predictions by pool, and what the living lanes of each pool have finished.

    `bounded` and `by_owner` are without batch work, which enters by a window of its own.
    `ranks` has a thousand of each pool's waiting ranks in order: the n-th is the lowest with n thousandths
    of the pool at or below it.
    """

    by_pool: Mapping[str, int]
    bounded: Mapping[str, int]
    by_owner: Mapping[str, int]
    finished: Mapping[str, int]
    ranks: Mapping[str, Sequence[float]]


async def count_backlog(engine: AsyncEngine) -> BacklogCount:
    """Count now. Reads the whole queue, which is narrow."""
    by_pool: Counter[str] = Counter()
    bounded: Counter[str] = Counter()
    by_owner: Counter[str] = Counter()
    async with engine.connect() as connection:
        for row in await connection.execute(_WAITING):
            by_pool[row.pool] += row.waiting
            bounded[row.pool] += row.bounded
            by_owner[row.owner_id] += row.bounded
        finished = {row.pool: row.finished for row in await connection.execute(_FINISHED)}
        ranks = {row.pool: row.ranks for row in await connection.execute(_RANKS)}
    return BacklogCount(by_pool, bounded, by_owner, finished, ranks)
