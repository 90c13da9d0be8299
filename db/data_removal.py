"""What predictions were asked and have answered goes before they do, where operators want that. Sync."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from sqlalchemy import Engine, text

from db.blobs import REFERENCE_PREFIX, Blobs, folder_of
from db.ids import floor_id

_BATCH = 500
# What waits, runs, or is to go into a batch's output file.
_OLDEST_UNDER_WAY = text(
    "SELECT least((SELECT min(id) FROM queue), (SELECT min(id) FROM batches WHERE due_at IS NOT NULL))"
)
# The input and the output of predictions too, as files.
_EXPIRE_BATCH_FILES = text(
    "UPDATE files SET expires_at = now()"
    " WHERE purpose IN ('batch', 'batch_output') AND id < :until AND expires_at > now()"
)
_NEXT = text(
    f"""
    SELECT id, concat(input, output) LIKE '%"{REFERENCE_PREFIX}%' AS has_files
    FROM predictions p
    WHERE id >= :since AND id < :until AND completed_at IS NOT NULL AND NOT data_removed
      AND NOT EXISTS (
          SELECT 1 FROM batches b WHERE b.owner_id = p.owner_id AND b.due_at IS NOT NULL AND b.id < p.id
      )
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

    The files of batches go with them, but nothing that its owner has asked for since a batch began that has
    not ended. Looks at ids from `since` on, and returns from where the next time is to begin: what still
    waits, runs or is kept for a batch is not passed over. Raises `SQLAlchemyError` and
    `BlobStoreUnavailable`.
    """
    until = floor_id(before)
    with engine.connect() as connection:
        oldest_under_way = connection.scalar(_OLDEST_UNDER_WAY)
        connection.execute(_EXPIRE_BATCH_FILES, {"until": until})
        while not stopping():
            rows = connection.execute(_NEXT, {"since": since, "until": until}).all()
            # Files first: without its record saying so, nobody would look for one again.
            for row in rows:
                if row.has_files:
                    blobs.delete(folder_of("inputs", row.id))
                    blobs.delete(folder_of("predictions", row.id))
            connection.execute(_REMOVE, {"ids": [row.id for row in rows]})
            if len(rows) < _BATCH:
                return min(until, oldest_under_way or until)
            since = rows[-1].id
    return since
