"""How far a lane has come with its predictions: told to the database, sparingly."""

from __future__ import annotations

import time
from collections.abc import Callable

from db.leases import Leases
from workers.work import Work

# Between two looks at what runs. What begins and ends between them is never written of.
LOOK_SECONDS = 1.0
DECIMALS = 3


class ProgressReporter:
    """Writes what has changed since it looked last, in one statement, of what was there then already."""

    def __init__(self, leases: Leases, clock: Callable[[], float] = time.monotonic) -> None:
        self._leases = leases
        self._clock = clock
        self._looked_at = clock()
        # By prediction: the share that was written last; None for one that was seen once.
        self._written: dict[str, float | None] = {}

    def report(self, work: Work | None) -> None:
        """Look, unless that was less than a second ago. Raises `SQLAlchemyError`."""
        now = self._clock()
        if now - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = now
        shares = [] if work is None else [(lease, round(share, DECIMALS)) for lease, share in work.progress()]
        changed = [
            (lease, share)
            for lease, share in shares
            if lease.id in self._written and self._written[lease.id] != share
        ]
        if changed:
            self._leases.note_progress(changed)
        self._written = {lease.id: share if lease.id in self._written else None for lease, share in shares}
