"""How often what the steward does now and then is done."""

from __future__ import annotations

import time
from collections.abc import Callable


class Pace:
    """Says when something is due: at once, and then not before `pause_seconds` have passed."""

    def __init__(self, pause_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._pause_seconds = pause_seconds
        self._clock = clock
        self._due_at = clock()

    def is_due(self) -> bool:
        """Whether it is due now; if so, the pause begins."""
        if self._clock() < self._due_at:
            return False
        self.pause()
        return True

    def pause(self, seconds: float = 0.0) -> None:
        """Have a pause begin now, longer than usual if `seconds` are."""
        self._due_at = self._clock() + max(self._pause_seconds, seconds)
