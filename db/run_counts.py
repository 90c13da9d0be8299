"""How often each model was asked for. Sync; steward only.

Counting when a prediction is accepted would have all requests for a model wait for its row; counting when
somebody looks would read the table. So the steward adds up, once a minute, what has come since the last time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine, text

from db.ids import floor_id
from db.pacing import Pace
from db.session import transaction

PAUSE_SECONDS = 60.0
# Ids are made before they are committed, and by other machines' clocks. What comes later than this is not
# counted.
SETTLED_AFTER = timedelta(seconds=60)

_HOLD = text(
    """
    INSERT INTO run_counter DEFAULT VALUES
    ON CONFLICT (singleton) DO UPDATE SET counted_to = run_counter.counted_to RETURNING counted_to
    """
)
_ADD = text(
    """
    WITH runs AS (
        SELECT model_id, count(*) AS more FROM predictions
        WHERE id >= :since AND id < :until GROUP BY model_id
    )
    UPDATE models m SET run_count = run_count + runs.more FROM runs WHERE m.id = runs.model_id
    """
)
_MOVE = text("UPDATE run_counter SET counted_to = :until")


class RunCounts:
    """Adds up `models.run_count`, each prediction once."""

    def __init__(self, engine: Engine, clock: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine
        self._pace = Pace(PAUSE_SECONDS, clock)

    def run_due(self) -> bool:
        """Count, if the last time is long enough ago; returns whether it did. Raises `SQLAlchemyError`."""
        if not self._pace.is_due():
            return False
        add_up(self._engine, until=datetime.now(UTC) - SETTLED_AFTER)
        return True


def add_up(engine: Engine, *, until: datetime) -> None:
    """Count the predictions made before `until` that have not been counted yet."""
    end = floor_id(until)
    with transaction(engine) as connection:
        since = connection.scalar(_HOLD)
        if since < end:
            connection.execute(_ADD, {"since": since, "until": end})
            connection.execute(_MOVE, {"until": end})
