"""Batch work fills what other work leaves idle: which versions stand back for others, and for how long."""

from __future__ import annotations

import time
from collections.abc import Sequence

from db.waiting import WaitingVersion
from workers.residency import Residency

# A version that has stood back in this lane for so long gets a turn all the same: nothing starves.
STARVED_SECONDS = 300.0


class Backfill:
    """One lane's view of what may run now.

    Batch work stands back while other work waits, in whichever of the lane's pools. Nor is a version loaded
    for its sake until nothing else has run for `hold_off_seconds`: a load keeps the lane for seconds, and may
    push out what somebody is about to ask for again. What has aged counts as any other work.
    """

    def __init__(self, residency: Residency, *, hold_off_seconds: float) -> None:
        self._residency = residency
        self._hold_off_seconds = hold_off_seconds
        self._since: dict[tuple[str, str], float] = {}
        self._other_work_at = self._loaded_at = -hold_off_seconds

    def candidates(self, waiting: Sequence[WaitingVersion]) -> Sequence[WaitingVersion]:
        """Those of these that do not stand back now."""
        if not any(version.is_backfill for version in waiting):
            return waiting
        now = time.monotonic()
        back = {_key(version): version for version in waiting if self._stands_back(version, waiting, now)}
        self._since = {key: self._since.get(key, now) for key in back}
        for key, since in self._since.items():
            if now - since >= STARVED_SECONDS:
                return [back[key]]
        return [version for version in waiting if _key(version) not in back]

    def note(self, version: WaitingVersion) -> None:
        """Something of this version has been claimed."""
        if not version.is_backfill:
            self.note_other_work()
            return
        self._since.pop(_key(version), None)
        if not self._is_loaded(version):
            self._loaded_at = time.monotonic()

    def note_other_work(self) -> None:
        """Something that is no batch work runs, or has run until now."""
        self._other_work_at = time.monotonic()

    def _stands_back(self, version: WaitingVersion, waiting: Sequence[WaitingVersion], now: float) -> bool:
        if _counts_as_other_work(version):
            return False
        if any(map(_counts_as_other_work, waiting)):
            return True
        if self._is_loaded(version):
            return False
        # Two batches do not push each other's models out at every turn.
        is_disturbed = any(map(self._is_loaded, waiting)) and now - self._loaded_at < self._hold_off_seconds
        return is_disturbed or now - self._other_work_at < self._hold_off_seconds

    def _is_loaded(self, version: WaitingVersion) -> bool:
        return self._residency.peek(version.version_id) is not None


def _counts_as_other_work(version: WaitingVersion) -> bool:
    return not version.is_backfill or version.has_aged


def _key(version: WaitingVersion) -> tuple[str, str]:
    return version.pool, version.version_id
