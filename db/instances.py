"""Instances of deployments: the lanes that run one, and those that keep one loaded. Sync; workers only.

A lane claims of a deployment only while it has a *seat* there, and a deployment has no more seats than its
`max_instances`. Lanes that keep a version are chosen by the steward, as many as `min_instances`.
"""

from __future__ import annotations

from sqlalchemy import Engine, text

# Lanes that want a seat go one after the other, so that each counts those before it.
LOCK = text("SELECT id FROM deployments WHERE pool = :pool FOR NO KEY UPDATE")

# To be run after `LOCK`, in its transaction, as a statement of its own: only that sees what the lane before
# has committed. What is left of a deployment that has been deleted is bounded by nothing.
TAKE_SEAT = text(
    """
    UPDATE lanes SET seats = array_append(array_remove(seats, :pool), :pool)
    WHERE id = :lane AND coalesce(
        (SELECT count(*) FROM lanes other WHERE other.id <> :lane AND :pool = ANY(other.seats))
        < (SELECT max_instances FROM deployments WHERE pool = :pool),
        true
    )
    RETURNING id
    """
)

LEAVE_SEATS = text("UPDATE lanes SET seats = '{}' WHERE id = :lane")

# Lanes that keep or hold a version go on with it; ties are broken by a hash, which spreads the versions
# evenly (rendezvous hashing). Lanes that stay as they are see no write.
_SPREAD = text(
    """
    WITH wanted AS (
        SELECT v.id AS version_id, v.model_type AS pool, max(d.min_instances) AS lanes
        FROM deployments d JOIN model_versions v ON v.id = d.version_id
        WHERE d.min_instances > 0 GROUP BY v.id
    ),
    ranked AS (
        SELECT l.id, w.version_id, w.lanes, row_number() OVER (
            PARTITION BY w.version_id
            ORDER BY w.version_id = ANY(l.kept) DESC, w.version_id = ANY(l.resident) DESC,
                     cardinality(l.kept), md5(l.id || w.version_id)
        ) AS place
        FROM wanted w JOIN lanes l ON w.pool = ANY(l.pools)
    ),
    due AS (
        SELECT l.id, coalesce(
            array_agg(r.version_id ORDER BY r.version_id) FILTER (WHERE r.place <= r.lanes), '{}'
        ) AS kept
        FROM lanes l LEFT JOIN ranked r USING (id) GROUP BY l.id
    )
    UPDATE lanes l SET kept = due.kept FROM due WHERE l.id = due.id AND l.kept <> due.kept RETURNING l.id
    """
)


def spread(engine: Engine) -> list[str]:
    """Say which lanes keep which versions for deployments; the ids of the lanes for which that is news.

    Two deployments of one version share the lanes that keep it.
    """
    with engine.connect() as connection:
        return list(connection.scalars(_SPREAD))
