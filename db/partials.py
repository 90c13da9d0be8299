"""What running predictions have come to so far. Sync; workers only.

It is written twice a second at most and may be lost; the record reads it only while the attempt runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec
from sqlalchemy import Engine, text

from db.leases import Lease
from db.pacing import Pace

PAUSE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Partial:
    """The output so far as JSON text, None where there is none yet, and the logs so far."""

    lease: Lease
    output: str | None
    logs: str


_NOTE = text(
    """
    INSERT INTO partials (id, attempt, output, logs, updated_at)
    SELECT q.id, q.attempt, CAST(told.output AS json), told.logs, clock_timestamp()
    FROM json_to_recordset(CAST(:partials AS json))
         AS told(id text, lane text, attempt int, output text, logs text)
    JOIN queue q ON q.id = told.id AND q.lane = told.lane AND q.attempt = told.attempt
    ON CONFLICT (id) DO UPDATE
    SET attempt = EXCLUDED.attempt, output = EXCLUDED.output, logs = EXCLUDED.logs,
        updated_at = EXCLUDED.updated_at
    """
)

_FORGET = text("DELETE FROM partials so_far WHERE NOT EXISTS (SELECT FROM queue q WHERE q.id = so_far.id)")


def note(engine: Engine, partials: Sequence[Partial]) -> None:
    """Write what these have come to; of those whose lease is lost, nothing."""
    written = [
        {
            "id": partial.lease.id,
            "lane": partial.lease.lane,
            "attempt": partial.lease.attempt,
            "output": partial.output,
            "logs": partial.logs,
        }
        for partial in partials
    ]
    with engine.connect() as connection:
        connection.execute(_NOTE, {"partials": msgspec.json.encode(written).decode()})


class PartialsSweep:
    """Deletes what was written of predictions that have ended since. Steward only."""

    def __init__(self, engine: Engine, clock: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine
        self._pace = Pace(PAUSE_SECONDS, clock)

    def run_due(self) -> bool:
        """Delete, if the last time is a minute ago; returns whether it did. Raises `SQLAlchemyError`."""
        if not self._pace.is_due():
            return False
        with self._engine.connect() as connection:
            connection.execute(_FORGET)
        return True
