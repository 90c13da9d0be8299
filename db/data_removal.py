"""What predictions were asked and have answered goes before they do, where operators want that. Sync."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from sqlalchemy import Engine, text

from db.blobs import REFERENCE_PREFIX, Blobs, folder_of
from db.ids import floor_id

_BATCH = 500
_OLDEST_QUEUED = text("SELECT min(id) FROM queue")
_NEXT = text(
    f"""
    SELECT id, concat(input, output) LIKE '%"{REFERENCE_PREFIX}%' AS has_files
    FROM predictions
    WHERE id >= :since AND id < :until AND completed_at IS NOT NULL AND NOT data_removed
    ORDER BY id LIMIT {_BATCH}
    """
)
_REMOVE = text(
    """
    UPDATE predictions SET input = '{}', output = NULL, logs = NULL, data_removed = true
    WHERE id = ANY(CAST(:ids AS text[]))
    RETURNING set_config('synchronous_commit', 'off', true)
    """
)


def remove_data(
    engine: Engine,
    blobs: Blobs,
    *,
    since: str,
    before: datetime,
    stopping: Callable[[], bool] = lambda: False,
) -> str:
    """Remove input, output, logs and files of finished predictions made before then; the records stay.

    Looks at ids from `since` on, and returns from where the next time is to begin: what still waits or
    runs is not passed over. Raises `SQLAlchemyError` and `BlobStoreUnavailable`.
    """
    until = floor_id(before)
    with engine.connect() as connection:
        oldest_queued = connection.scalar(_OLDEST_QUEUED)
        while not stopping():
            rows = connection.execute(_NEXT, {"since": since, "until": until}).all()
            # Files first: without its record saying so, nobody would look for one again.
            for row in rows:
                if row.has_files:
                    blobs.delete(folder_of("inputs", row.id))
                    blobs.delete(folder_of("predictions", row.id))
            connection.execute(_REMOVE, {"ids": [row.id for row in rows]})
            if len(rows) < _BATCH:
                return min(until, oldest_queued or until)
            since = rows[-1].id
    return since
