"""What has expired and lies in no partition: keys, told webhooks, rows of the default partition, files."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from sqlalchemy import Engine, text

from db.blobs import ERA_LENGTH, Blobs, Kind
from db.ids import floor_id

_KEYS = text("DELETE FROM idempotency_keys WHERE created_at < now() - make_interval(hours => :hours)")
_WEBHOOKS = text("DELETE FROM webhook_deliveries WHERE next_attempt_at IS NULL AND prediction_id < :floor")
_PREDICTIONS = text("DELETE FROM predictions_default WHERE id < :floor AND completed_at IS NOT NULL")
_EXISTING = text("SELECT id FROM predictions WHERE id = ANY(CAST(:ids AS text[]))")
# No character of an id sorts after v.
_ERA_IN_USE = text("SELECT EXISTS (SELECT 1 FROM predictions WHERE id >= :era AND id < :era || 'w')")
_LOOKED_UP = 1000


def forget(engine: Engine, *, before: datetime, keys_hours: int) -> None:
    """Delete what is older than it needs to be kept."""
    floor = {"floor": floor_id(before)}
    with engine.connect() as connection:
        connection.execute(_KEYS, {"hours": keys_hours})
        connection.execute(_WEBHOOKS, floor)
        connection.execute(_PREDICTIONS, floor)


def eras(blobs: Blobs, kind: Kind, *, before: datetime) -> list[str]:
    """The folders of files whose predictions are all older than that, the oldest first."""
    newest = floor_id(before)[:ERA_LENGTH]
    return [f"{kind}/{era}" for era in blobs.names(kind) if era < newest]


def delete_orphans(
    engine: Engine, blobs: Blobs, folder: str, *, stopping: Callable[[], bool] = lambda: False
) -> int:
    """Delete, in an era's folder, the files of predictions that do not exist; returns of how many.

    Raises `SQLAlchemyError` and `BlobStoreUnavailable`; what is left is for the next time.
    """
    ids = blobs.names(folder)
    deleted = 0
    with engine.connect() as connection:
        if not connection.scalar(_ERA_IN_USE, {"era": folder.rpartition("/")[2]}):
            # Nobody stores anything here any more; all at once is the fastest way out of a bucket.
            blobs.delete(folder)
            return len(ids)
        for start in range(0, len(ids), _LOOKED_UP):
            some = ids[start : start + _LOOKED_UP]
            existing = set(connection.scalars(_EXISTING, {"ids": some}))
            for prediction_id in some:
                if stopping():
                    return deleted
                if prediction_id not in existing:
                    blobs.delete(f"{folder}/{prediction_id}")
                    deleted += 1
    return deleted
