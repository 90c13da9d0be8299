"""Where waiting predictions stand in the queue, and when their turn may come."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import inf, nextafter

from db.repositories.backlog import RANKS, BacklogCount

# Before a pace is believed, so many are gone, or so much time is.
ENOUGH_GONE = 10
ENOUGH_SECONDS = 30.0
# Beyond this an estimate is no use to anybody.
MAX_ESTIMATE_SECONDS = 7 * 86_400.0


@dataclass(frozen=True, slots=True)
class Place:
    """How many of its pool are ahead of a prediction, and when its turn comes, if that can be told."""

    ahead: int
    estimated_start: datetime | None


@dataclass(frozen=True, slots=True)
class _Line:
    """A pool's queue at a moment (of the monotonic clock): how many wait, and ranks as `BacklogCount` has."""

    waiting: int
    ranks: Sequence[float]
    at: float

    def ahead_of(self, rank: float) -> int:
        """How many have a lower rank: exact up to a thousand, then to a thousandth of the queue."""
        return -(-bisect_left(self.ranks, rank) * self.waiting // RANKS)


class Places:
    """What the looks at the queue tell of places. Costs a reader no look of its own.

    A pool's pace is how fast those that waited at some moment have gone since: by being claimed or canceled,
    but less what has overtaken them.
    """

    def __init__(self) -> None:
        self._lines: dict[str, _Line] = {}
        self._anchors: dict[str, _Line] = {}
        self._per_second: dict[str, float] = {}
        self._learned_at = -inf

    def learn(self, count: BacklogCount, at: float) -> None:
        """The queue was counted at this moment of the monotonic clock."""
        self._lines = {
            pool: _Line(count.by_pool.get(pool, 0), ranks, at) for pool, ranks in count.ranks.items()
        }
        if at - self._learned_at > ENOUGH_SECONDS:
            # How fast it went while nobody looked is no pace of now.
            self._anchors.clear()
            self._per_second.clear()
        self._learned_at = at
        for pool, anchor in list(self._anchors.items()):
            self._measure(pool, anchor, self._lines.get(pool, _Line(0, (), at)))
        for pool, line in self._lines.items():
            self._anchors.setdefault(pool, line)

    def of(self, pool: str, rank: float) -> Place | None:
        """The place of this rank as of the last look; None where nobody has looked yet."""
        if self._learned_at == -inf:
            return None
        line = self._lines.get(pool)
        ahead, per_second = line.ahead_of(rank) if line else 0, self._per_second.get(pool, 0.0)
        if per_second <= ahead / MAX_ESTIMATE_SECONDS:
            return Place(ahead, None)
        return Place(ahead, datetime.now(UTC) + timedelta(seconds=ahead / per_second))

    def _measure(self, pool: str, anchor: _Line, now: _Line) -> None:
        seconds = now.at - anchor.at
        left = min(now.ahead_of(nextafter(anchor.ranks[-1], inf)), anchor.waiting)
        gone = anchor.waiting - left
        if gone >= ENOUGH_GONE or seconds >= ENOUGH_SECONDS or (left == 0 and pool not in self._per_second):
            self._per_second[pool] = gone / seconds
        if left == 0 or seconds >= ENOUGH_SECONDS:
            del self._anchors[pool]
