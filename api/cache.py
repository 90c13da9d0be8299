"""A bounded cache in memory whose entries end by themselves."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class TimedCache(Generic[K, V]):
    """Keeps up to `max_entries` values, each for `seconds` or less; the oldest make room for new ones."""

    def __init__(
        self, *, seconds: float, max_entries: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._seconds = seconds
        self._max_entries = max_entries
        self._clock = clock
        self._entries: dict[K, tuple[float, V]] = {}

    def get(self, key: K) -> V | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        ends, value = entry
        if self._clock() < ends:
            return value
        del self._entries[key]
        return None

    def put(self, key: K, value: V, *, seconds: float | None = None) -> None:
        """Keep `value`, for at most `seconds` where its own life is shorter than the cache's."""
        life = self._seconds if seconds is None else min(seconds, self._seconds)
        self._entries.pop(key, None)
        self._entries[key] = (self._clock() + life, value)
        if len(self._entries) > self._max_entries:
            del self._entries[next(iter(self._entries))]

    def drop(self, key: K) -> None:
        self._entries.pop(key, None)

    def clear(self) -> None:
        self._entries.clear()
