"""Which versions have predictions waiting, and how long and how urgently: what a lane chooses from."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import text

from db.states import Priority


@dataclass(frozen=True, slots=True)
class WaitingVersion:
    """A version with predictions waiting in a pool: of the first its rank, its wait, and its priority.

    `kept_elsewhere` tells that the pool is a deployment's, and another lane has the version loaded for it.
    What `has_aged` has waited for so much work that nothing which comes now could go before it.
    """

    pool: str
    version_id: str
    rank: float
    waited_seconds: float
    kept_elsewhere: bool
    priority: int
    has_aged: bool = False

    @property
    def is_backfill(self) -> bool:
        """Whether the first is batch work."""
        return self.priority >= Priority.BATCH


# A loose index scan over (pool, version_id, rank): as many probes as versions wait, not rows. First in the
# model type's own pool, then in those of its deployments, but for the ones that have no seat for this lane.
WAITING = text(
    """
    WITH RECURSIVE found AS (
        SELECT first.pool, first.version_id, span.upto
        FROM (VALUES (CAST(:pool AS text), CAST(:pool AS text)), (:first, :last)) AS span (since, upto)
        CROSS JOIN LATERAL (
            SELECT q.pool, q.version_id FROM queue q WHERE q.pool >= span.since AND q.pool <= span.upto
            ORDER BY q.pool, q.version_id LIMIT 1
        ) first
        UNION ALL
        SELECT next.pool, next.version_id, f.upto
        FROM found f
        CROSS JOIN LATERAL (
            SELECT q.pool, q.version_id FROM queue q
            WHERE (q.pool, q.version_id) > (f.pool, f.version_id) AND q.pool <= f.upto
            ORDER BY q.pool, q.version_id LIMIT 1
        ) next
    )
    SELECT f.pool, f.version_id, head.rank,
           extract(epoch FROM clock_timestamp() - head.enqueued_at)::float8 AS waited_seconds,
           d.id IS NOT NULL AND EXISTS (
               SELECT 1 FROM lanes l
               WHERE l.id <> :lane AND f.version_id = ANY(l.kept) AND f.version_id = ANY(l.resident)
           ) AS kept_elsewhere,
           head.priority, head.rank <= coalesce(c.virtual_time, 0) AS has_aged
    FROM found f
    CROSS JOIN LATERAL (
        SELECT q.rank, q.enqueued_at, q.priority FROM queue q
        WHERE q.pool = f.pool AND q.version_id = f.version_id AND q.lane IS NULL
        ORDER BY q.rank, q.id LIMIT 1
    ) head
    LEFT JOIN pool_clocks c ON c.pool = f.pool
    LEFT JOIN deployments d ON d.pool = f.pool
    WHERE d.id IS NULL OR d.max_instances > (
        SELECT count(*) FROM lanes l WHERE f.pool = ANY(l.seats) AND l.id <> :lane
    )
    ORDER BY head.rank
    """
)
