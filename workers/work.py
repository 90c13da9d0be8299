"""One session at work: which predictions are in it, and what its steps make of them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import BaseModel, ValidationError

from db.errors import StorageUnavailable
from db.leases import Lease, Outcome
from db.states import FailureCode
from model_types.base import DeviceLost, Failure, Pass, Session
from model_types.batching import one_line, traceback_of
from workers.inputs import InputFiles, Loading
from workers.jobs import Job
from workers.outputs import outcome_of
from workers.printing import overhear
from workers.residency import Resident
from workers.streams import StreamWriter

logger = logging.getLogger(__name__)


def prepare(resident: Resident, leases: Sequence[Lease], files: InputFiles) -> list[Job | Outcome]:
    """Make the inputs of leases ready for the model; one that does not fit is an outcome already."""
    values = [_validated(resident, lease) for lease in leases]
    loading = files.load((lease.id, value) for lease, value in zip(leases, values, strict=True))
    return [_ready(resident, *each) for each in zip(leases, values, loading, strict=True)]


def _validated(resident: Resident, lease: Lease) -> BaseModel | Outcome:
    try:
        return resident.model.parse(lease.input)
    except Exception as error:
        return _unfit(lease, error)


def _ready(resident: Resident, lease: Lease, value: BaseModel | Outcome, loading: Loading) -> Job | Outcome:
    if isinstance(value, Outcome):
        return value
    job = Job(lease)
    try:
        loading.wait()
        with overhear(job.print):
            job.prepared = resident.model.prepare(value)
    except Exception as error:
        return replace(_unfit(lease, error), logs=job.logs)
    return job


def _unfit(lease: Lease, error: Exception) -> Outcome:
    """How a prediction ends whose input cannot be made ready."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        message = f"input.{where}: {first['msg']}" if where else first["msg"]
        return outcome_of(lease, Failure(FailureCode.INVALID_INPUT, message))
    if isinstance(error, ValueError):
        return outcome_of(lease, Failure(FailureCode.INVALID_INPUT, str(error)))
    if isinstance(error, StorageUnavailable):
        logger.warning("the files of prediction %s cannot be read: %s", lease.id, error)
        message = "The input's files cannot be read: the store of files is out of reach."
        return outcome_of(lease, Failure(FailureCode.STORAGE_UNAVAILABLE, message))
    logger.error(
        "prediction %s cannot be prepared", lease.id, exc_info=error, extra={"request_id": lease.request_id}
    )
    return outcome_of(lease, Failure(FailureCode.MODEL_ERROR, one_line(error)))


class Work:
    """A version's session and the predictions in it.

    The lane's main thread calls `join` and `step`; its pulse calls `leases`, `jobs`, `running`, `progress`,
    `follow`, `drop`, `overdue_seconds` and `interrupt`.
    """

    def __init__(
        self, resident: Resident, *, lingered: bool = False, streams: StreamWriter | None = None
    ) -> None:
        """Without `streams` nobody can follow what is in the session."""
        self.resident = resident
        self._streams = streams
        self._lingered = lingered
        self._session: Session = resident.model.session()
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()
        self._stepping_since: float | None = None
        self._passes: Sequence[Pass] = ()

    def __len__(self) -> int:
        return len(self._jobs)

    def is_suspect(self) -> bool:
        """Whether a lane has died before with what is in the session."""
        return any(lease.losses for lease in self.leases())

    def room(self) -> int:
        """How many more predictions may join now. What a lane has died with before runs alone."""
        if self.is_suspect():
            return 0
        return min(self._session.room(), self.resident.max_batch - len(self._jobs))

    def admits(self, job: Job) -> bool:
        """Whether this one may join now: there is a place for it, and its cost fits the budget."""
        if not self._jobs:
            return True
        cost = job.lease.cost + sum(lease.cost for lease in self.leases())
        return not job.lease.losses and self.room() > 0 and cost <= self.resident.budget

    def join(self, job: Job) -> None:
        """Take a prediction in."""
        job.began_at = time.monotonic()
        job.chunks_are = self.resident.model.chunks(job.prepared)
        job.text_field = self.resident.info.text_field
        # In this order: what is dropped in between must not stay in the session.
        self._session.add(job.lease.id, job.prepared)
        with self._lock:
            self._jobs[job.lease.id] = job
        if job.lease.streams or job.lease.listened:
            self._follow(job)
        self._hear(self._session, job)

    def follow(self, ids: Iterable[str]) -> None:
        """Somebody reads the streams of these now: they begin with what there is so far."""
        for prediction_id in ids:
            with self._lock:
                job = self._jobs.get(prediction_id)
            if job is not None and not job.is_followed:
                self._follow(job)
                self._hear(self._session, job)

    def _follow(self, job: Job) -> None:
        if self._streams is not None:
            job.follow(self._streams.open(job.lease))

    def _hear(self, session: Session, job: Job) -> None:
        if job.wants_chunks:
            session.listen(job.lease.id, job.hear)

    def step(self, *, seconds: float | None = None) -> list[Outcome]:
        """Move the session on; the outcomes of those that have left it.

        With `seconds`, by a pass of as many rows as they are enough for, as a rule, and at least one.
        """
        if seconds is not None:
            self._session.shorten(self.resident.padded_in(seconds))
        began = time.monotonic()
        with self._lock:
            self._stepping_since = began
        results: Mapping[str, Any]
        try:
            with overhear(self._print):
                results = self._session.step()
            self._passes = self._session.passes()
            self.resident.took(time.monotonic() - began, self._passes)
        except DeviceLost:
            raise
        except Exception as error:
            logger.exception("a batch of %d failed; trying its members apart", len(self._jobs))
            with overhear(self._print):
                results = self._apart(list(self._jobs.values()), error)
            self._session = self.resident.model.session()
        finally:
            with self._lock:
                self._stepping_since = None
        return self._leave(results) + self._leave(self._expired())

    def leases(self) -> list[Lease]:
        """What is in the session now."""
        return [job.lease for job in self.jobs()]

    def jobs(self) -> list[Job]:
        """What is in the session now, with what it has come to."""
        with self._lock:
            return list(self._jobs.values())

    def running(self) -> list[Lease]:
        """What of it has begun."""
        waiting = self._session.waiting()
        return [lease for lease in self.leases() if lease.id not in waiting]

    def _print(self, text: str) -> None:
        """What a step prints belongs to all that have begun: nobody can tell whose it is."""
        waiting = self._session.waiting()
        for job in self.jobs():
            if job.lease.id not in waiting:
                job.print(text)

    def progress(self) -> list[tuple[Lease, float]]:
        """How far those at work have come, 0 to 1, as far as the session tells."""
        shares = self._session.progress()
        return [(lease, shares[lease.id]) for lease in self.leases() if lease.id in shares]

    def passes(self) -> Sequence[Pass]:
        """The session's runs through the model in the last step, unless they were asked for already."""
        passes, self._passes = self._passes, ()
        if self._lingered and passes and passes[0].bound == "idle":
            passes = [replace(passes[0], bound="linger"), *passes[1:]]
        self._lingered = False
        return passes

    def let_go(self) -> list[Lease]:
        """Have those that have not begun leave, without an outcome: they may wait again."""
        waiting = set(self._session.waiting())
        going = [lease for lease in self.leases() if lease.id in waiting]
        self.drop(lease.id for lease in going)
        return going

    def postpone(self, seconds: float) -> None:
        """The session has stood still for so long: that does not count as its members' time."""
        for job in self.jobs():
            job.began_at += seconds

    def drop(self, ids: Iterable[str]) -> None:
        """Have these leave at the next step's edge, without an outcome: they are not ours any more."""
        for prediction_id in ids:
            with self._lock:
                known = self._jobs.pop(prediction_id, None)
            if known is not None:
                self._session.cancel(prediction_id)

    def overdue_seconds(self) -> float:
        """By how much the present step exceeds what one prediction may take; 0 or less while it does not."""
        with self._lock:
            return self._overdue_seconds()

    def interrupt(self) -> None:
        """Ask an overdue step to stop working, if it can; those who were in it then fail in `step`."""
        with self._lock:  # The step cannot end meanwhile, nor another one begin.
            if self._overdue_seconds() > 0:
                waiting = self._session.waiting()
                for key in self._jobs:
                    if key not in waiting:
                        self._session.cancel(key)

    def _overdue_seconds(self) -> float:
        if self._stepping_since is None:
            return 0.0
        return time.monotonic() - self._stepping_since - self.resident.execution_timeout_seconds

    def _leave(self, results: Mapping[str, Any]) -> list[Outcome]:
        outcomes = []
        for prediction_id, result in results.items():
            with self._lock:
                job = self._jobs.pop(prediction_id, None)
            if job is not None:
                metrics = self.resident.model.metrics(job.prepared) or None
                outcomes.append(job.outcome(result, metrics))
        return outcomes

    def _expired(self) -> dict[str, Failure]:
        """Those that have run for longer than one prediction may."""
        limit = self.resident.execution_timeout_seconds
        started_before = time.monotonic() - limit
        waiting = self._session.waiting()
        late = [
            key
            for key, job in list(self._jobs.items())
            if key not in waiting and job.began_at < started_before
        ]
        for key in late:
            self._session.cancel(key)
        message = f"The prediction ran for longer than {limit:g} seconds."
        return {key: Failure(FailureCode.EXECUTION_TIMEOUT, message) for key in late}

    def _apart(self, jobs: Sequence[Job], error: Exception) -> dict[str, Any]:
        """Run halves of a batch that failed, and halves of those, so that only the culprits fail."""
        if len(jobs) == 1:
            failure = Failure(FailureCode.MODEL_ERROR, one_line(error), traceback_of(error))
            return {jobs[0].lease.id: failure}
        results: dict[str, Any] = {}
        middle = len(jobs) // 2
        for half in (jobs[:middle], jobs[middle:]):
            try:
                results |= self._alone(half)
            except Exception as again:
                results |= self._apart(half, again)
        return results

    def _alone(self, jobs: Sequence[Job]) -> dict[str, Any]:
        session = self.resident.model.session()
        for job in jobs:
            session.add(job.lease.id, job.prepared)
            self._hear(session, job)
        results: dict[str, Any] = {}
        while len(session):
            results |= session.step()
        return results
