"""Keeps the front of the queue free of dead rows. Sync; steward only.

Every prediction leaves dead rows at the front of `queue`'s indexes, and each claim walks over them until a
vacuum has taken them away. Autovacuum comes once a minute at best; thousands of predictions end meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from sqlalchemy import Engine, text

from db.pacing import Pace

PAUSE_SECONDS = 2.0
# A vacuum takes at most this part of the time, however little it can do (a long transaction elsewhere keeps
# dead rows alive).
_SHARE = 0.05

# What PostgreSQL counts lags by up to a second.
_DEAD = text(
    """
    SELECT n_dead_tup > 500 + n_live_tup / 50 FROM pg_stat_user_tables
    WHERE schemaname = current_schema() AND relname = 'queue'
    """
)
_VACUUM = text("VACUUM (INDEX_CLEANUP ON, TRUNCATE OFF, SKIP_LOCKED) queue")


class QueueVacuum:
    """Vacuums `queue` when that is worth it."""

    def __init__(self, engine: Engine, clock: Callable[[], float] = time.monotonic) -> None:
        """The engine is in autocommit mode: a vacuum cannot stand in a transaction."""
        self._engine = engine
        self._clock = clock
        self._pace = Pace(PAUSE_SECONDS, clock)

    def run_due(self) -> bool:
        """Vacuum, if enough rows are dead and the last time is long enough ago. Raises `SQLAlchemyError`.

        Returns whether it did.
        """
        if not self._pace.is_due():
            return False
        with self._engine.connect() as connection:
            if not connection.scalar(_DEAD):
                return False
            started = self._clock()
            connection.execute(_VACUUM)
        self._pace.pause((self._clock() - started) / _SHARE)
        return True
