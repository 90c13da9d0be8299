"""What a lane runs next: which version's turn it is, and how much of it is claimed."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from db.leases import Claim, Lease, Leases, Outcome
from db.waiting import WaitingVersion
from workers.backfill import Backfill
from workers.bells import AHEAD_SECONDS, Bells
from workers.inputs import InputFiles
from workers.jobs import Job
from workers.residency import Residency, Resident
from workers.turns import Turns
from workers.work import prepare

logger = logging.getLogger(__name__)

# After so long a lane lets other pools have a turn; it rings its own bell again when it leaves a backlog.
SLICE_SECONDS = 1.0
# For so long a look at which versions wait is good; less than any version may be made to wait for others.
LOOK_SECONDS = 0.5
# Before a session begins, a lane looks up to so many times for others that arrive at the same time, and
# waits for them no longer than this part of a usual step; where that is next to nothing, not at all.
ARRIVAL_SHARE = 0.06
ARRIVAL_LOOKS = 6
MIN_PAUSE_SECONDS = 0.002
# What waits for a version that other lanes keep loaded is left to them for so long.
KEEPERS_SECONDS = 1.0
UNLIMITED = 1 << 60
# For so long a lane that was woken ahead looks for what it was woken for, first after so short a pause, and
# then less and less often. What is committed later has another bell.
EXPECT_SECONDS = 2 * AHEAD_SECONDS
EXPECT_PAUSE_SECONDS = 0.0001
# So much batch work is in hand: enough to find rows of like size, and to prepare some while others run.
RESERVE_SECONDS = 0.5
MIN_RESERVE_ROWS = 2


def reserve_rows(resident: Resident) -> int:
    """How many predictions of batch work a lane may have in hand."""
    return min(max(resident.rows_in(RESERVE_SECONDS), MIN_RESERVE_ROWS), resident.max_batch)


@dataclass(frozen=True, slots=True)
class Batch:
    """Leases of one version and pool, prepared where the version was loaded; `more` of it were waiting.

    `lingered` tells that the lane has waited for others, as the version asks it to.
    """

    pool: str
    version_id: str
    leases: Sequence[Lease]
    prepared: Sequence[Job | Outcome] | None
    more: bool
    lingered: bool = False

    @property
    def is_backfill(self) -> bool:
        """Whether it is batch work, of which other work never is a part."""
        return self.leases[0].backfill


class Claims:
    """One lane's. Only one thread at a time calls it, at most for `SLICE_SECONDS` after each `begin`.

    While the database is away nothing is to be had; `is_unsure` tells that an answer was lost on the way, so
    the lane may hold what it does not know of.
    """

    def __init__(
        self,
        leases: Leases,
        residency: Residency,
        files: InputFiles,
        bells: Bells,
        backfill: Backfill,
        *,
        stopping: Callable[[], bool],
        affinity_seconds: float,
    ) -> None:
        self._leases = leases
        self._residency = residency
        self._files = files
        self._bells = bells
        self._backfill = backfill
        self._stopping = stopping
        self._affinity_seconds = affinity_seconds
        self._leave_at = 0.0
        self._turns = Turns()
        self._looked: dict[str, tuple[float, Sequence[WaitingVersion]]] = {}
        self._expected: str | None = None
        self._expected_until = 0.0
        self.is_unsure = False

    def begin(self, expected: str | None = None) -> None:
        """A slice begins, and with it the next pool's turn; a prediction may be expected to come just now."""
        self._leave_at = time.monotonic() + SLICE_SECONDS
        self._turns.pass_on()
        self._expected = expected
        self._expected_until = time.monotonic() + EXPECT_SECONDS

    @property
    def is_over(self) -> bool:
        """Whether the slice is over, or the worker stopping."""
        return self._stopping() or time.monotonic() > self._leave_at

    def is_all(self, pool: str) -> bool:
        """Whether one version was all that waited at the last look, and nothing is expected any more."""
        _, waiting = self._looked[pool]
        return len(waiting) == 1 and self._expected is None

    def next(self, pool: str, *, only: Resident | None = None, limit: int = UNLIMITED) -> Batch | None:
        """Claim what is to run next, and prepare it where its version is loaded; None when nothing is.

        With `only`, nothing as well when another version's or pool's turn has come, or that of batch work.
        """
        if limit < 1 or (self._stopping() if only is None else self.is_over):
            return None
        try:
            batch = self._next(pool, only, limit)
            return batch or (self._await_expected(pool, limit) if only is None else None)
        except (DBAPIError, PoolTimeout) as error:
            self._note_trouble(error)
            return None

    def _await_expected(self, pool: str, limit: int) -> Batch | None:
        """Look until something is there, or what is expected must have been: the last look begins then."""
        batch, pause = None, EXPECT_PAUSE_SECONDS
        while batch is None and self._expected is not None and not self._stopping():
            time.sleep(pause)
            pause *= 2
            if time.monotonic() >= self._expected_until:
                self._expected = None
            batch = self._next(pool, None, limit)
        return batch

    def first(self, pool: str) -> WaitingVersion | None:
        """Whose turn it is now in a model type's pools; None when nobody's."""
        try:
            waiting = self._look(pool)
        except (DBAPIError, PoolTimeout) as error:
            self._note_trouble(error)
            return None
        return self._choose(waiting) if waiting else None

    def take(self, chosen: WaitingVersion, limit: int = UNLIMITED) -> Batch | None:
        """Claim of a version whose turn it is, without waiting for more; None where others were faster."""
        try:
            return self._claim_chosen(chosen, limit, joining=True)
        except (DBAPIError, PoolTimeout) as error:
            self._note_trouble(error)
            return None

    def take_ahead(self, chosen: WaitingVersion, resident: Resident, limit: int) -> Sequence[Lease]:
        """Claim batch work, to be prepared while the device computes."""
        try:
            return self._claim_backfill(chosen, resident, limit).leases
        except (DBAPIError, PoolTimeout) as error:
            self._note_trouble(error)
            return ()

    def rest(self, batch: Batch, *, limit: int) -> Sequence[Lease]:
        """Claim more of a batch's version, for which it does not have to be loaded."""
        return self._leases.claim(batch.pool, batch.version_id, limit=limit, budget=UNLIMITED).leases

    def _note_trouble(self, error: DBAPIError | PoolTimeout) -> None:
        logger.warning("nothing can be claimed now: %s", error.args[0])
        self.is_unsure = True

    def _next(self, pool: str, only: Resident | None, limit: int) -> Batch | None:
        if resident := self._only_one(pool, only):
            batch = self._claim_again(pool, resident, limit, joining=only is not None)
            if batch is not None or (self._expected is not None and only is None):
                return batch
        waiting = self._look(pool)
        while waiting:
            chosen = self._choose(waiting)
            if only is not None and (chosen.version_id != only.spec.id or chosen.is_backfill):
                return None
            if batch := self._claim_chosen(chosen, limit, joining=only is not None):
                return batch
            # Others were faster, or have the last seats of the deployment.
            waiting = [version for version in waiting if version.pool != chosen.pool]
        return None

    def _look(self, pool: str) -> Sequence[WaitingVersion]:
        waiting = self._leases.waiting(pool)
        self._looked[pool] = (time.monotonic(), waiting)
        return self._backfill.candidates([version for version in waiting if not self._is_others(version)])

    def _claim_chosen(self, chosen: WaitingVersion, limit: int, *, joining: bool) -> Batch | None:
        pool, version_id = chosen.pool, chosen.version_id
        resident = self._residency.peek(version_id)
        self._backfill.note(chosen)
        if resident is None:
            # One is enough to load it for; others may serve the rest meanwhile.
            claim = self._leases.claim(
                pool, version_id, limit=1, budget=UNLIMITED, backfill=chosen.is_backfill
            )
            return self._batch(pool, version_id, None, claim)
        if chosen.is_backfill:
            limit = min(limit, reserve_rows(resident))
            return self._batch(pool, version_id, resident, self._claim_backfill(chosen, resident, limit))
        linger_seconds = resident.linger_seconds - chosen.waited_seconds
        claim = self._gather(pool, resident, limit, joining=joining, linger=linger_seconds)
        lingered = linger_seconds > 0 and not joining
        return self._batch(pool, version_id, resident, claim, lingered=lingered)

    def _only_one(self, pool: str, only: Resident | None) -> Resident | None:
        """The one version that the last look has found, if that was just now: it saves a look.

        Not so of batch work, which has to look whether it may go on.
        """
        looked_at, waiting = self._looked.get(pool, (0.0, ()))
        fresh_seconds = min(LOOK_SECONDS, self._affinity_seconds)
        if len(waiting) != 1 or time.monotonic() - looked_at > fresh_seconds or waiting[0].is_backfill:
            return None
        resident = self._residency.peek(waiting[0].version_id)
        if resident is None or resident.linger_seconds or (only is not None and only is not resident):
            return None
        return resident

    def _claim_again(self, pool: str, resident: Resident, limit: int, *, joining: bool) -> Batch | None:
        _, (waiting,) = self._looked[pool]
        claim = self._gather(waiting.pool, resident, limit, joining=joining)
        if claim.leases:
            self._backfill.note_other_work()
        return self._batch(waiting.pool, resident.spec.id, resident, claim)

    def _batch(
        self,
        pool: str,
        version_id: str,
        resident: Resident | None,
        claim: Claim,
        *,
        lingered: bool = False,
    ) -> Batch | None:
        if not claim.leases:
            return None
        if any(lease.id == self._expected for lease in claim.leases):
            self._expected = None
        if claim.more:
            self._bells.ring([pool])
        prepared = None if resident is None else prepare(resident, claim.leases, self._files)
        return Batch(pool, version_id, claim.leases, prepared, claim.more, lingered)

    def _gather(
        self, pool: str, resident: Resident, limit: int, *, joining: bool, linger: float = 0.0
    ) -> Claim:
        """Claim up to what fits. Before a session begins, others may arrive for as long as it is worth it.

        That is while they do arrive, up to a small part of what a step takes: missing the step would cost
        them all of it. A version may ask to `linger` whether or not anybody arrives, for so many seconds or
        until the batch is full.
        """
        limit = min(limit, resident.max_batch)
        claim = self._claim(pool, resident, limit)
        leases, more = list(claim.leases), claim.more
        if joining or not leases or leases[0].losses:
            return claim
        lingers = linger > 0
        # In a short window there is no time for as many looks.
        looks = min(ARRIVAL_LOOKS, max(1, int(linger / MIN_PAUSE_SECONDS))) if lingers else ARRIVAL_LOOKS
        pause = max(linger, resident.usual_step_seconds * ARRIVAL_SHARE) / looks
        while looks and not more and len(leases) < limit and pause >= MIN_PAUSE_SECONDS:
            time.sleep(pause)
            looks -= 1
            claim = self._claim(pool, resident, limit - len(leases))
            leases, more = [*leases, *claim.leases], claim.more
            if not claim.leases and not lingers:
                break
        return Claim(leases, more)

    def _claim(self, pool: str, resident: Resident, limit: int) -> Claim:
        return self._leases.claim(pool, resident.spec.id, limit=limit, budget=resident.budget, backfill=False)

    def _claim_backfill(self, chosen: WaitingVersion, resident: Resident, limit: int) -> Claim:
        return self._leases.claim(
            chosen.pool, chosen.version_id, limit=limit, budget=resident.budget, backfill=True
        )

    def _choose(self, waiting: Sequence[WaitingVersion]) -> WaitingVersion:
        """Of the pool whose turn it is: what is loaded first, unless another version has waited for too long.

        Patient predictions do not wait for too long while the first in order are more urgent. Nor does a pool
        get its turn for a version that is to be loaded, while others wait for loaded ones.
        """
        ready = [version for version in waiting if self._is_late(version) or self._is_loaded(version)]
        pool = self._turns.of(version.pool for version in ready or waiting)
        versions = [version for version in waiting if version.pool == pool]
        urgent = [version for version in versions if version.priority <= versions[0].priority]
        oldest = max(urgent, key=lambda version: version.waited_seconds)
        if self._is_late(oldest):
            return oldest
        return next(filter(self._is_loaded, versions), versions[0])

    def _is_others(self, version: WaitingVersion) -> bool:
        """Whether lanes that have it loaded may have it first, by their caretakers if no bell wakes them."""
        is_new = version.waited_seconds < KEEPERS_SECONDS
        return version.kept_elsewhere and is_new and not self._is_loaded(version)

    def _is_late(self, version: WaitingVersion) -> bool:
        return version.waited_seconds > self._affinity_seconds

    def _is_loaded(self, version: WaitingVersion) -> bool:
        return self._residency.peek(version.version_id) is not None
