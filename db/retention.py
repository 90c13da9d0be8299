"""What has expired and lies in no partition: keys, told webhooks, rows of the default partition."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Engine, text

from db.ids import floor_id

_KEYS = text("DELETE FROM idempotency_keys WHERE created_at < now() - make_interval(hours => :hours)")
_WEBHOOKS = text("DELETE FROM webhook_deliveries WHERE next_attempt_at IS NULL AND prediction_id < :floor")
_PREDICTIONS = text("DELETE FROM predictions_default WHERE id < :floor AND completed_at IS NOT NULL")


def forget(engine: Engine, *, before: datetime, keys_hours: int) -> None:
    """Delete what is older than it needs to be kept."""
    floor = {"floor": floor_id(before)}
    with engine.connect() as connection:
        connection.execute(_KEYS, {"hours": keys_hours})
        connection.execute(_WEBHOOKS, floor)
        connection.execute(_PREDICTIONS, floor)
