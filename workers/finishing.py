"""The last part of a prediction's way: store how it ended, then tell who waits; beside the device's work."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from db.blobs import Blobs
from db.endings import Ended
from db.leases import Lease, Leases, Outcome
from db.states import Event, FailureCode, Status
from model_types.base import Failure
from workers.events import Observer
from workers.outputs import delete_files, outcome_of, with_files_stored

logger = logging.getLogger(__name__)

# While the database is away results are kept in memory for so long; then their leases have lapsed.
RETRY_SECONDS = 120.0
# The device may run ahead of storing by so many batches.
MAX_BEHIND = 2


class Finisher:
    """Stores outcomes in a thread of its own, in order.

    `has_given_up` tells that some could not be stored, so that the lane holds leases that nobody will end.
    """

    def __init__(
        self,
        leases: Leases,
        blobs: Blobs,
        announce: Callable[[Sequence[Ended]], None],
        observer: Observer,
        *,
        note_started: Callable[[Sequence[str]], None] = lambda _: None,
        flush: Callable[[], object] = lambda: None,
    ) -> None:
        """`note_started` writes that predictions have begun; `flush` waits a little for their streams."""
        self._leases = leases
        self._blobs = blobs
        self._announce = announce
        self._observer = observer
        self._note_started = note_started
        self._flush = flush
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="behind")
        self._pending: list[Future[None]] = []
        self.finished = 0
        self.has_given_up = False

    def begin(self, leases: Sequence[Lease]) -> None:
        """Have it written that these have begun, for webhooks that want to hear of it: before their end."""
        ids = [lease.id for lease in leases if Event.START in lease.webhook_events]
        if ids:
            self._pending.append(self._thread.submit(self._begin, ids))

    def submit(self, outcomes: Sequence[Outcome]) -> None:
        """Have these stored. Waits only when storing has fallen behind."""
        if not outcomes:
            return
        self._pending.append(self._thread.submit(self._store, outcomes))
        while len(self._pending) > MAX_BEHIND:
            self._pending.pop(0).result()

    def store(self, outcomes: Sequence[Outcome]) -> None:
        """Store these here and now, after all others: nothing else is to be done meanwhile."""
        self.drain()
        if outcomes:
            self._store(outcomes)

    def drain(self) -> None:
        """Wait until everything is stored."""
        while self._pending:
            self._pending.pop(0).result()

    def close(self) -> None:
        """Store what is left, and stop."""
        self.drain()
        self._thread.shutdown()

    def _begin(self, ids: Sequence[str]) -> None:
        try:
            self._note_started(ids)
        except (DBAPIError, PoolTimeout) as error:
            logger.warning("nobody will be told that %d predictions have begun: %s", len(ids), error.args[0])

    def _store(self, outcomes: Sequence[Outcome]) -> None:
        outcomes = with_files_stored(outcomes, self._blobs)
        self._flush()
        ended = self._finish(outcomes)
        self._announce(ended)
        self.finished += len(ended)
        self._observer.ended(outcomes)
        kept = {one.id for one in ended}
        for outcome in outcomes:
            logger.info(
                "prediction %s %s, attempt %d%s",
                outcome.lease.id,
                outcome.status,
                outcome.lease.attempt,
                "" if outcome.lease.id in kept else ": discarded, it was not this lane's any more",
                extra={"request_id": outcome.lease.request_id},
            )

    def _finish(self, outcomes: Sequence[Outcome]) -> list[Ended]:
        """Store them; while the database is away try again: what is stored already does not change."""
        give_up_at = time.monotonic() + RETRY_SECONDS
        pause = 0.1
        is_first = True
        while True:
            try:
                ended = self._leases.finish(outcomes)
                # What is not ours any more may have ended here, if the answer to that was lost.
                if is_first:
                    delete_files(outcomes, self._blobs, but={one.id for one in ended})
                return ended
            except (DBAPIError, PoolTimeout) as error:
                if not _is_passing(error):
                    return self._finish_apart(outcomes, error)
                if time.monotonic() > give_up_at:
                    return self._give_up(outcomes)
                logger.warning("the database is away, keeping %d outcomes: %s", len(outcomes), error.args[0])
                is_first = False
                time.sleep(pause)
                pause = min(pause * 2, 2.0)

    def _finish_apart(self, outcomes: Sequence[Outcome], error: DBAPIError | PoolTimeout) -> list[Ended]:
        """Store halves, and halves of those, so that only what the database refuses fails."""
        if len(outcomes) > 1:
            middle = len(outcomes) // 2
            return self._finish(outcomes[:middle]) + self._finish(outcomes[middle:])
        (outcome,) = outcomes
        if outcome.status is not Status.SUCCEEDED:
            return self._give_up(outcomes)
        logger.warning("the output of prediction %s is refused: %s", outcome.lease.id, error.args[0])
        delete_files(outcomes, self._blobs, but=())
        failure = Failure(FailureCode.MODEL_ERROR, "The model's output cannot be stored.")
        return self._finish([outcome_of(outcome.lease, failure, logs=outcome.logs)])

    def _give_up(self, outcomes: Sequence[Outcome]) -> list[Ended]:
        logger.error("%d outcomes could not be stored", len(outcomes))
        self.has_given_up = True
        return []


def _is_passing(error: DBAPIError | PoolTimeout) -> bool:
    """Whether the same statement may succeed later: the connection failed, not the data."""
    return isinstance(error, PoolTimeout) or error.connection_invalidated or "connection" in str(error.orig)
