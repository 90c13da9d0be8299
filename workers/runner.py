"""The loop of a lane: choose a version, claim, step, finish; prepare ahead, finish behind."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from db.leases import Lease, Leases, Outcome
from db.states import FailureCode
from db.waiting import WaitingVersion
from model_types.base import DeviceLost, Failure, ModelUnavailable
from workers.backfill import Backfill
from workers.bells import Bells
from workers.claiming import Batch, Claims, reserve_rows
from workers.events import Observer
from workers.finishing import Finisher
from workers.inputs import InputFiles
from workers.jobs import Job
from workers.outputs import outcome_of
from workers.residency import Residency, Resident
from workers.streams import StreamWriter
from workers.work import Work, prepare

logger = logging.getLogger(__name__)

# How often a session that others may join looks for them between two of its steps.
JOIN_INTERVAL_SECONDS = 0.02
# How many predictions of a version that cannot be loaded fail together.
UNAVAILABLE_LIMIT = 100
# While the database is away a lane tries so often to learn what it holds.
SETTLE_SECONDS = 0.5


@dataclass(slots=True)
class _Reserve:
    """Batch work in hand that is in no session yet: ready to run, and on its way to that.

    Once it `is_closed` nothing is added to it.
    """

    ready: deque[Job]
    coming: Sequence[Lease] = ()
    preparing: Future[list[Job | Outcome]] | None = None
    is_closed: bool = False

    def __bool__(self) -> bool:
        return bool(self.ready) or self.preparing is not None

    def empty(self) -> list[Lease]:
        """Let go of all of it."""
        leases = [*(job.lease for job in self.ready), *self.coming]
        self.ready.clear()
        self.coming, self.preparing = (), None
        return leases


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
        batch_pass_seconds: float,
        batch_hold_off_seconds: float,
        streams: StreamWriter | None = None,
    ) -> None:
        self._leases = leases
        self._residency = residency
        self._files = files
        self._finisher = finisher
        self._bells = bells
        self._observer = observer
        self._stopping = stopping
        self._batch_pass_seconds = batch_pass_seconds
        self._streams = streams
        self._front = ThreadPoolExecutor(1, thread_name_prefix="front")
        self._backfill = Backfill(residency, hold_off_seconds=batch_hold_off_seconds)
        self._claims = Claims(
            leases,
            residency,
            files,
            bells,
            self._backfill,
            stopping=stopping,
            affinity_seconds=affinity_seconds,
        )
        self.work: Work | None = None

    def serve(self, pool: str, *, expected: str | None = None) -> None:
        """Work until nothing waits in a model type's pools, the slice is over, or the worker is stopping.

        The prediction that is `expected` may not be committed yet.
        """
        self._claims.begin(expected)
        try:
            self._settle()
            while (batch := self._claims.next(pool)) is not None:
                self._run(pool, batch)
                self._settle()
                if len(batch.leases) == 1 and not batch.more and self._claims.is_all(pool):
                    # Little is going on. What has come since has rung a bell of its own.
                    return
                if self._claims.is_over:
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
            self._claims.is_unsure = True
            return
        ready = self._prepared(resident, batch)
        more = batch.more
        if batch.prepared is None and more and not batch.is_backfill and not batch.leases[0].losses:
            found = self._claims.next(pool, only=resident, limit=resident.max_batch - len(ready))
            ready += self._prepared(resident, found)
            more = found is not None and found.more
        interrupted = self.work
        work = self.work = Work(resident, lingered=batch.lingered, streams=self._streams)
        try:
            if batch.is_backfill:
                self._fill(pool, work, ready)
            else:
                self._session(pool, work, ready, more=more)
                self._backfill.note_other_work()
        except (DBAPIError, PoolTimeout) as error:
            logger.warning("the database went away under a session: %s", error.args[0])
            self._claims.is_unsure = True
        except DeviceLost:
            raise
        except Exception as error:
            logger.exception("a session of %s broke", resident.spec.model)
            failure = Failure(FailureCode.MODEL_ERROR, f"The model's session broke: {error}")
            broken = [*work.leases(), *(job.lease for job in ready)]
            self._finisher.submit([outcome_of(lease, failure) for lease in broken])
            self._claims.is_unsure = True
        finally:
            self.work = interrupted

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
                if more or ready or len(work):
                    self._finisher.submit(outcomes)
                else:
                    self._finisher.store(outcomes)
                self._count(work, outcomes)
            if claiming is not None:
                found = claiming.result()
            elif not ready and len(work) and time.monotonic() - looked_at >= JOIN_INTERVAL_SECONDS:
                looked_at = time.monotonic()
                found = self._claims.next(pool, only=work.resident, limit=work.room())
            else:
                continue
            more = found is not None and found.more
            ready += self._prepared(work.resident, found)

    def _fill(self, pool: str, work: Work, ready: deque[Job]) -> None:
        """Run batch work in short passes, and between any two of them whatever goes before it.

        When that is not to be had here and now, or the slice is over, what has not begun is given back.
        """
        reserve = _Reserve(ready, is_closed=any(job.lease.losses for job in ready))
        while reserve or len(work):
            self._join(work, reserve.ready)
            if len(work):
                outcomes = work.step(seconds=self._batch_pass_seconds)
                self._finisher.submit(outcomes)
                self._count(work, outcomes)
            elif reserve.preparing is not None:
                wait([reserve.preparing], timeout=JOIN_INTERVAL_SECONDS)
            first = self._make_way(pool, work)
            if self._claims.is_over or (first is not None and not _is_more_of(first, work)):
                reserve.is_closed = True
                if leases := [*work.let_go(), *reserve.empty()]:
                    self._leases.give_back(leases)
            self._refill(work, reserve, first)

    def _make_way(self, pool: str, work: Work) -> WaitingVersion | None:
        """Run what goes before the batch work in this session; whose turn it is then."""
        first = self._claims.first(pool)
        while not self._stopping() and first is not None and not first.is_backfill:
            # The session keeps its place meanwhile: no model has to leave for one that is loaded.
            is_loaded = self._residency.peek(first.version_id) is not None
            batch = self._claims.take(first) if is_loaded else None
            if batch is None:
                break
            began = time.monotonic()
            self._run(pool, batch)
            work.postpone(time.monotonic() - began)
            first = self._claims.first(pool)
            if self._claims.is_over:
                break
        return first

    def _refill(self, work: Work, reserve: _Reserve, first: WaitingVersion | None) -> None:
        """Have more batch work prepared while the device computes, and take in what is ready."""
        resident = work.resident
        if reserve.preparing is not None and reserve.preparing.done():
            reserve.ready += self._ready(reserve.preparing.result())
            reserve.coming, reserve.preparing = (), None
        rows = reserve_rows(resident)
        if first is None or reserve or reserve.is_closed or 2 * len(work) > rows:
            return
        leases = self._claims.take_ahead(first, resident, rows - len(work))
        if leases and leases[0].losses:
            # What a lane has died with runs alone.
            self._leases.give_back(leases)
            reserve.is_closed = True
        elif leases:
            reserve.coming = leases
            reserve.preparing = self._front.submit(prepare, resident, leases, self._files)

    def _count(self, work: Work, outcomes: Sequence[Outcome]) -> None:
        """Tell the observer of a step, after its outcomes are on their way: somebody waits for those."""
        self._observer.stepped(work.resident.spec, work.passes(), outcomes)

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
        return self._front.submit(self._claims.next, pool, only=resident, limit=resident.max_batch)

    def _prepared(self, resident: Resident, batch: Batch | None) -> deque[Job]:
        """What of a batch is ready to run; what does not fit the model is finished here."""
        if batch is None:
            return deque()
        prepared = batch.prepared
        return self._ready(prepare(resident, batch.leases, self._files) if prepared is None else prepared)

    def _ready(self, prepared: Sequence[Job | Outcome]) -> deque[Job]:
        self._finisher.submit([one for one in prepared if isinstance(one, Outcome)])
        return deque(one for one in prepared if isinstance(one, Job))

    def _refuse(self, batch: Batch, failure: Failure) -> None:
        """Fail what waits for a version that cannot be loaded."""
        leases = list(batch.leases)
        if batch.more:
            leases += self._claims.rest(batch, limit=UNAVAILABLE_LIMIT)
        self._finisher.submit([outcome_of(lease, failure) for lease in leases])

    def _settle(self) -> None:
        """Store what is left; after trouble, give back whatever this lane holds without knowing.

        The lane is at rest here. It waits for the database, without which it has nothing to do anyway:
        nobody else would take back what a living lane holds.
        """
        self._finisher.drain()
        while not self._stopping():
            try:
                if self._claims.is_unsure or self._finisher.has_given_up:
                    self._leases.release()
                    self._claims.is_unsure = self._finisher.has_given_up = False
                self._leases.leave_seats()
                return
            except (DBAPIError, PoolTimeout) as error:
                logger.warning("leases cannot be settled now: %s", error.args[0])
                time.sleep(SETTLE_SECONDS)


def _is_more_of(first: WaitingVersion, work: Work) -> bool:
    return first.is_backfill and first.version_id == work.resident.spec.id
