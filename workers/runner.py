"""The loop of a lane: choose a version, claim, step, finish; prepare ahead, finish behind."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from db.leases import Claim, Lease, Leases, Outcome, WaitingVersion
from db.states import FailureCode
from model_types.base import DeviceLost, Failure, ModelUnavailable
from workers.bells import Bells
from workers.events import Observer
from workers.finishing import Finisher
from workers.inputs import InputFiles
from workers.jobs import Job
from workers.outputs import outcome_of
from workers.residency import Residency, Resident
from workers.streams import StreamWriter
from workers.turns import Turns
from workers.work import Work, prepare

logger = logging.getLogger(__name__)

# How often a session that others may join looks for them between two of its steps.
JOIN_INTERVAL_SECONDS = 0.02
# After so long a lane lets other pools have a turn; it rings its own bell again when it leaves a backlog.
SLICE_SECONDS = 1.0
# How many predictions of a version that cannot be loaded fail together.
UNAVAILABLE_LIMIT = 100
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
# While the database is away a lane tries so often to learn what it holds.
SETTLE_SECONDS = 0.5


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


class Runner:
    """Serves pools and their deployments, one session at a time. Only one thread calls `serve`."""

    def __init__(
        self,
        *,
        leases: Leases,
        residency: Residency,
        files: InputFiles,
        finisher: Finisher,
        bells: Bells,
        observer: Observer,
        stopping: Callable[[], bool],
        affinity_seconds: float,
        streams: StreamWriter | None = None,
    ) -> None:
        self._leases = leases
        self._residency = residency
        self._files = files
        self._finisher = finisher
        self._bells = bells
        self._observer = observer
        self._stopping = stopping
        self._affinity_seconds = affinity_seconds
        self._streams = streams
        self._front = ThreadPoolExecutor(1, thread_name_prefix="front")
        self._leave_at = 0.0
        self._turns = Turns()
        self._looked: dict[str, tuple[float, Sequence[WaitingVersion]]] = {}
        self._unsure = False
        self.work: Work | None = None

    def serve(self, pool: str) -> None:
        """Work until nothing waits in a model type's pools, the slice is over, or the worker is stopping."""
        self._leave_at = time.monotonic() + SLICE_SECONDS
        self._turns.pass_on()
        try:
            self._settle()
            while (batch := self._next(pool)) is not None:
                self._run(pool, batch)
                self._settle()
                _, waiting = self._looked[pool]
                if len(batch.leases) == 1 and not batch.more and len(waiting) == 1:
                    # Little is going on. What has come since has rung a bell of its own.
                    return
                if time.monotonic() > self._leave_at:
                    self._bells.ring([pool])
                    return
        finally:
            self._settle()

    def close(self) -> None:
        """Give the memory back; the runner is not used again."""
        self._front.shutdown()
        self._files.close()
        self._residency.release_all()

    def _run(self, pool: str, batch: Batch) -> None:
        """Run one session of the batch's version until it is empty."""
        try:
            resident = self._residency.acquire(batch.version_id)
        except ModelUnavailable as error:
            self._refuse(batch, Failure(FailureCode.MODEL_UNAVAILABLE, str(error)))
            return
        except (DBAPIError, PoolTimeout) as error:
            logger.warning("the database went away before a version was found: %s", error.args[0])
            self._unsure = True
            return
        ready = self._prepared(resident, batch)
        more = batch.more
        if batch.prepared is None and more and not batch.leases[0].losses:
            found = self._next(pool, only=resident, limit=resident.max_batch - len(ready))
            ready += self._prepared(resident, found)
            more = found is not None and found.more
        self.work = Work(resident, lingered=batch.lingered, streams=self._streams)
        try:
            self._session(pool, self.work, ready, more=more)
        except (DBAPIError, PoolTimeout) as error:
            logger.warning("the database went away under a session: %s", error.args[0])
            self._unsure = True
        except DeviceLost:
            raise
        except Exception as error:
            logger.exception("a session of %s broke", resident.spec.model)
            failure = Failure(FailureCode.MODEL_ERROR, f"The model's session broke: {error}")
            broken = [*self.work.leases(), *(job.lease for job in ready)]
            self._finisher.submit([outcome_of(lease, failure) for lease in broken])
            self._unsure = True
        finally:
            self.work = None

    def _session(self, pool: str, work: Work, ready: deque[Job], *, more: bool) -> None:
        looked_at = time.monotonic()
        while ready or len(work):
            if self._stopping() and ready:
                self._leases.give_back([job.lease for job in ready])
                ready.clear()
            self._join(work, ready)
            # What a lane has died with runs alone, and holding more would drag others down with it again.
            ahead = more and not ready and not work.is_suspect()
            claiming = self._claim_ahead(pool, work.resident) if ahead else None
            if len(work):
                outcomes = work.step()
                self._observer.stepped(work.resident.spec, work.passes(), outcomes)
                if more or ready or len(work):
                    self._finisher.submit(outcomes)
                else:
                    self._finisher.store(outcomes)
            if claiming is not None:
                found = claiming.result()
            elif not ready and len(work) and time.monotonic() - looked_at >= JOIN_INTERVAL_SECONDS:
                looked_at = time.monotonic()
                found = self._next(pool, only=work.resident, limit=work.room())
            else:
                continue
            more = found is not None and found.more
            ready += self._prepared(work.resident, found)

    def _join(self, work: Work, ready: deque[Job]) -> None:
        joined = []
        while ready and work.admits(ready[0]):
            work.join(job := ready.popleft())
            joined.append(job.lease)
        if joined:
            self._finisher.begin(joined)
            self._observer.began(work.resident.spec, joined)

    def _claim_ahead(self, pool: str, resident: Resident) -> Future[Batch | None]:
        """Claim and prepare the next batch while the device computes this one: it waits already."""
        return self._front.submit(self._next, pool, only=resident, limit=resident.max_batch)

    def _prepared(self, resident: Resident, batch: Batch | None) -> deque[Job]:
        """What of a batch is ready to run; what does not fit the model is finished here."""
        if batch is None:
            return deque()
        prepared = batch.prepared
        if prepared is None:
            prepared = prepare(resident, batch.leases, self._files)
        self._finisher.submit([one for one in prepared if isinstance(one, Outcome)])
        return deque(one for one in prepared if isinstance(one, Job))

    def _refuse(self, batch: Batch, failure: Failure) -> None:
        """Fail what waits for a version that cannot be loaded."""
        leases = list(batch.leases)
        if batch.more:
            rest = self._leases.claim(batch.pool, batch.version_id, limit=UNAVAILABLE_LIMIT, budget=UNLIMITED)
            leases += rest.leases
        self._finisher.submit([outcome_of(lease, failure) for lease in leases])

    def _next(self, pool: str, *, only: Resident | None = None, limit: int = UNLIMITED) -> Batch | None:
        """Claim what is to run next, and prepare it where its version is loaded; None when nothing is.

        With `only`, nothing as well when another version's or pool's turn has come. While the database is
        away nothing is to be had either; an answer that was lost on the way is settled by `_settle`.
        """
        if self._stopping() or limit < 1 or (only is not None and time.monotonic() > self._leave_at):
            return None
        try:
            return self._claim(pool, only, limit)
        except (DBAPIError, PoolTimeout) as error:
            logger.warning("nothing can be claimed now: %s", error.args[0])
            self._unsure = True
            return None

    def _claim(self, pool: str, only: Resident | None, limit: int) -> Batch | None:
        batch = self._claim_again(pool, only, limit)
        if batch is not None:
            return batch
        waiting = self._leases.waiting(pool)
        self._looked[pool] = (time.monotonic(), waiting)
        waiting = [version for version in waiting if not self._is_others(version)]
        while waiting:
            chosen = self._choose(waiting)
            if only is not None and chosen.version_id != only.spec.id:
                return None
            if batch := self._claim_chosen(chosen, limit, joining=only is not None):
                return batch
            # Others were faster, or have the last seats of the deployment.
            waiting = [version for version in waiting if version.pool != chosen.pool]
        return None

    def _claim_chosen(self, chosen: WaitingVersion, limit: int, *, joining: bool) -> Batch | None:
        pool, version_id = chosen.pool, chosen.version_id
        resident = self._residency.peek(version_id)
        if resident is None:
            # One is enough to load it for; others may serve the rest meanwhile.
            claim = self._leases.claim(pool, version_id, limit=1, budget=UNLIMITED)
            return self._batch(pool, version_id, None, claim)
        linger_seconds = resident.linger_seconds - chosen.waited_seconds
        claim = self._gather(pool, resident, limit, joining=joining, linger=linger_seconds)
        lingered = linger_seconds > 0 and not joining
        return self._batch(pool, version_id, resident, claim, lingered=lingered)

    def _claim_again(self, pool: str, only: Resident | None, limit: int) -> Batch | None:
        """Claim of the one version that the last look has found, if that was just now: it saves a look."""
        looked_at, waiting = self._looked.get(pool, (0.0, ()))
        fresh_seconds = min(LOOK_SECONDS, self._affinity_seconds)
        if len(waiting) != 1 or time.monotonic() - looked_at > fresh_seconds:
            return None
        resident = self._residency.peek(waiting[0].version_id)
        if resident is None or resident.linger_seconds or (only is not None and only is not resident):
            return None
        claim = self._gather(waiting[0].pool, resident, limit, joining=only is not None)
        return self._batch(waiting[0].pool, resident.spec.id, resident, claim)

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
        if claim.more:
            self._bells.ring([pool])
        prepared = None if resident is None else prepare(resident, claim.leases, self._files)
        return Batch(pool, version_id, claim.leases, prepared, claim.more, lingered)

    def _gather(
        self, pool: str, resident: Resident, limit: int, *, joining: bool, linger: float = 0.0
    ) -> Claim:
        """Claim up to what fits. Before a session begins, others may arrive for as long as it is worth it.

        That is while they do arrive, up to a small part of what a step takes: missing the step would cost
        them all of it. A version may ask to `linger` whether or not anybody arrives, for so many seconds.
        """
        limit = min(limit, resident.max_batch)
        claim = self._leases.claim(pool, resident.spec.id, limit=limit, budget=resident.budget)
        leases, more = list(claim.leases), claim.more
        if joining or not leases or leases[0].losses:
            return claim
        pause = max(linger, resident.usual_step_seconds * ARRIVAL_SHARE / ARRIVAL_LOOKS)
        looks = 1 if linger > 0 else ARRIVAL_LOOKS
        while looks and not more and len(leases) < limit and pause >= MIN_PAUSE_SECONDS:
            time.sleep(pause)
            looks -= 1
            room = limit - len(leases)
            claim = self._leases.claim(pool, resident.spec.id, limit=room, budget=resident.budget)
            leases, more = [*leases, *claim.leases], claim.more
            if not claim.leases:
                break
        return Claim(leases, more)

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

    def _settle(self) -> None:
        """Store what is left; after trouble, give back whatever this lane holds without knowing.

        The lane is at rest here. It waits for the database, without which it has nothing to do anyway:
        nobody else would take back what a living lane holds.
        """
        self._finisher.drain()
        while not self._stopping():
            try:
                if self._unsure or self._finisher.has_given_up:
                    self._leases.release()
                    self._unsure = self._finisher.has_given_up = False
                self._leases.leave_seats()
                return
            except (DBAPIError, PoolTimeout) as error:
                logger.warning("leases cannot be settled now: %s", error.args[0])
                time.sleep(SETTLE_SECONDS)
