"""What has expired and lies in no partition: keys, told webhooks, batches, files, stray predictions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from sqlalchemy import Engine, text

from db.blobs import ERA_LENGTH, Blobs, Kind, folder_of
from db.ids import floor_id

# Ids that clients gave by PUT are found for as long as their predictions are there.
_KEYS = text(
    "DELETE FROM idempotency_keys WHERE created_at < now() - make_interval(hours => :hours)"
    " AND (key NOT LIKE 'put:%' OR prediction_id < :floor)"
)
_WEBHOOKS = text("DELETE FROM webhook_deliveries WHERE next_attempt_at IS NULL AND prediction_id < :floor")
_PREDICTIONS = text("DELETE FROM predictions_default WHERE id < :floor AND completed_at IS NOT NULL")
# What a batch still reads outlives its time.
_EXPIRED_FILES = text(
    """
    SELECT id FROM files f WHERE expires_at <= now() AND NOT EXISTS (
        SELECT 1 FROM batches b WHERE b.input_file_id = f.id AND b.due_at IS NOT NULL
    )
    ORDER BY expires_at LIMIT :most
    """
)
_FILES = text("DELETE FROM files WHERE id = ANY(CAST(:ids AS text[]))")
_BATCHES = text("DELETE FROM batches WHERE id < :floor AND due_at IS NULL")
_LOOKED_UP = 1000

# By the first part of a key: the table of those that the files of this kind belong to.
_OWNERS: Mapping[str, str] = {"predictions": "predictions", "inputs": "predictions", "files": "files"}
_EXISTING = "SELECT id FROM {} WHERE id = ANY(CAST(:ids AS text[]))"
# No character of an id sorts after v.
_ERA_IN_USE = "SELECT EXISTS (SELECT 1 FROM {} WHERE id >= :era AND id < :era || 'w')"


def forget(engine: Engine, *, before: datetime, keys_hours: int) -> None:
    """Delete what is older than it needs to be kept."""
    floor = {"floor": floor_id(before)}
    with engine.connect() as connection:
        connection.execute(_KEYS, {"hours": keys_hours} | floor)
        connection.execute(_WEBHOOKS, floor)
        connection.execute(_PREDICTIONS, floor)
        connection.execute(_BATCHES, floor)


def delete_expired_files(
    engine: Engine, blobs: Blobs, *, stopping: Callable[[], bool] = lambda: False
) -> int:
    """Delete uploads that have expired; returns how many. Raises what `delete_orphans` does.

    Their contents go first, so that what is left behind has its row still, and is found the next time.
    """
    deleted = 0
    with engine.connect() as connection:
        while ids := connection.scalars(_EXPIRED_FILES, {"most": _LOOKED_UP}).all():
            for file_id in ids:
                if stopping():
                    return deleted
                blobs.delete(folder_of("files", file_id))
            deleted += connection.execute(_FILES, {"ids": ids}).rowcount
    return deleted


def eras(blobs: Blobs, kind: Kind, *, before: datetime) -> list[str]:
    """The folders of files whose owners are all older than that, the oldest first."""
    newest = floor_id(before)[:ERA_LENGTH]
    return [f"{kind}/{era}" for era in blobs.names(kind) if era < newest]


def delete_orphans(
    engine: Engine, blobs: Blobs, folder: str, *, stopping: Callable[[], bool] = lambda: False
) -> int:
    """Delete, in an era's folder, the files of predictions or uploads that do not exist; returns of how many.

    Raises `SQLAlchemyError` and `BlobStoreUnavailable`; what is left is for the next time.
    """
    kind, _, era = folder.partition("/")
    in_use, some_existing = text(_ERA_IN_USE.format(_OWNERS[kind])), text(_EXISTING.format(_OWNERS[kind]))
    ids = blobs.names(folder)
    deleted = 0
    with engine.connect() as connection:
        if not connection.scalar(in_use, {"era": era}):
            # Nobody stores anything here any more; all at once is the fastest way out of a bucket.
            blobs.delete(folder)
            return len(ids)
        for start in range(0, len(ids), _LOOKED_UP):
            some = ids[start : start + _LOOKED_UP]
            existing = set(connection.scalars(some_existing, {"ids": some}))
            for owner_id in some:
                if stopping():
                    return deleted
                if owner_id not in existing:
                    blobs.delete(f"{folder}/{owner_id}")
                    deleted += 1
    return deleted
