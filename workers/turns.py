"""Pools that share a lane take turns."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count


class Turns:
    """Round robin: a pool keeps its turn until `pass_on`, or until it has nothing waiting any more."""

    def __init__(self) -> None:
        self._current: str | None = None
        self._latest: dict[str, int] = {}
        self._numbers = count(1)

    def of(self, pools: Iterable[str]) -> str:
        """The one of these, at least one, whose turn it is; a new turn goes to whose last is longest ago."""
        waiting = list(pools)
        if self._current not in waiting:
            self._current = min(waiting, key=lambda pool: self._latest.get(pool, 0))
            self._latest[self._current] = next(self._numbers)
        return self._current

    def pass_on(self) -> None:
        """The next one is to have its turn."""
        self._current = None
