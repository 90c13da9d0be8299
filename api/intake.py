"""Group commit: submissions that arrive while a commit is under way share the next one."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Sequence
from typing import Literal

import psycopg
from psycopg import AsyncConnection

from api.errors import Unavailable
from api.stopping import Patience
from db.errors import IdempotencyMismatch
from db.submissions import Accepted, Submission, make_durable, submit
from workers.bells import Ahead, GatewayBells

log = logging.getLogger(__name__)

MAX_GROUP = 500
# Beyond this the database is so slow that waiting would be worse than being told to come back.
MAX_WAITING = 20_000

# Without a submission, somebody waits for what was committed before to be durable.
_Waiting = tuple[Submission | None, "asyncio.Future[Accepted | None]"]
_Answers = Sequence[Accepted | IdempotencyMismatch | None]


class Intake:
    """Commits submissions, many at once, and then rings the bells of their pools.

    There is no timer: an idle gateway commits at once. An answer is given only after the commit.
    """

    def __init__(
        self,
        conninfo: Callable[[], str],
        bells: GatewayBells,
        *,
        timeout_seconds: float,
        max_waiting: int = MAX_WAITING,
        failpoint: Literal["after_commit"] | None = None,
    ) -> None:
        self._conninfo = conninfo
        self._bells = bells
        self._timeout_seconds = timeout_seconds
        self._max_waiting = max_waiting
        self._failpoint = failpoint
        self._connection: AsyncConnection | None = None
        self._waiting: list[_Waiting] = []
        self._writing: asyncio.Task[None] | None = None
        self._patience = Patience()

    async def accept(self, submission: Submission) -> Accepted:
        """Return when the submission is committed; durably, unless it has a `waiter`.

        Who waits for the end hears of nothing before it, and the end is durable, with all before it.
        Raises `Unavailable` when it is not committed, or nobody can tell, and `IdempotencyMismatch`.
        """
        if len(self._waiting) >= self._max_waiting:
            raise Unavailable("too many submissions wait for the database")
        accepted = await self._enqueue(submission)
        assert accepted is not None
        return accepted

    async def settle(self) -> None:
        """Return when all that has been committed is durable. Raises `Unavailable`."""
        await self._enqueue(None)

    async def _enqueue(self, submission: Submission | None) -> Accepted | None:
        future: asyncio.Future[Accepted | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((submission, future))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write(), name="intake")
        return await future

    async def close(self) -> None:
        """Commit what was handed in, and disconnect."""
        if self._writing is not None:
            await self._writing
        await self._patience.close()
        if self._connection is not None:
            await self._drop(self._connection)

    async def _write(self) -> None:
        try:
            while self._waiting:
                group, self._waiting = self._waiting[:MAX_GROUP], self._waiting[MAX_GROUP:]
                await self._commit(group)
        finally:
            self._writing = None

    async def _commit(self, group: Sequence[_Waiting]) -> None:
        ahead = self._ring_ahead(group)
        try:
            answers = await self._submit_in_time([submission for submission, _ in group])
        except psycopg.DataError as error:
            await self._apart(group, error)
        except TimeoutError:
            # Those that have queued up meanwhile have waited for almost as long.
            late, self._waiting = [*group, *self._waiting], []
            self._refuse(late, "the database has not answered in time")
        except (psycopg.Error, OSError) as error:
            self._refuse(group, str(error))
        except Exception as error:
            log.exception("%d submissions could not be committed", len(group))
            for _, future in group:
                _fail(future, error)
        else:
            self._answer(group, answers, ahead)

    def _ring_ahead(self, group: Sequence[_Waiting]) -> Ahead | None:
        """Where little is going on and somebody waits, a lane is woken while the commit is made."""
        if len(group) > 1 or (submission := group[0][0]) is None or submission.waiter is None:
            return None
        return self._bells.ring_ahead(submission.pool, submission.id)

    def _answer(self, group: Sequence[_Waiting], answers: _Answers, ahead: Ahead | None) -> None:
        if self._failpoint == "after_commit":
            os._exit(70)
        if ahead is not None:
            self._bells.confirm(ahead)
        else:
            self._bells.ring({submission.pool for submission, _ in group if submission is not None})
        for (_, future), answer in zip(group, answers, strict=True):
            if isinstance(answer, IdempotencyMismatch):
                _fail(future, answer)
            elif not future.done():
                future.set_result(answer)

    def _refuse(self, group: Sequence[_Waiting], reason: str) -> None:
        log.error("%d submissions could not be committed: %s", len(group), reason)
        for _, future in group:
            _fail(future, Unavailable("the database is out of reach now"))

    async def _apart(self, group: Sequence[_Waiting], error: psycopg.DataError) -> None:
        """Commit halves, and halves of those, so that what cannot be stored fails alone."""
        if len(group) == 1:
            _fail(group[0][1], error)
            return
        middle = len(group) // 2
        await self._commit(group[:middle])
        await self._commit(group[middle:])

    async def _submit_in_time(self, submissions: Sequence[Submission | None]) -> _Answers:
        """`_submit`, with a bound. Nobody waits for a server that hangs to hear of the cancellation too."""
        try:
            return await self._patience.within(self._timeout_seconds, self._submit(submissions))
        except TimeoutError:
            self._connection = None
            raise

    async def _submit(self, submissions: Sequence[Submission | None]) -> _Answers:
        """Submit, a second time on a new connection if the first turns out to be dead. Ids make that safe."""
        for last_try in (False, True):
            connection, was_open = await self._connected()
            try:
                return await _commit(connection, submissions)
            except (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure):
                if last_try:
                    raise
            except (psycopg.OperationalError, psycopg.InterfaceError, OSError):
                is_ours = self._connection is connection
                await self._drop(connection)
                if last_try or not was_open or not is_ours:
                    raise
            except asyncio.CancelledError:
                await self._drop(connection)
                raise
        raise AssertionError("the second try returns or raises")

    async def _connected(self) -> tuple[AsyncConnection, bool]:
        """The connection, and whether it was open already: then it may be dead without our knowing."""
        if self._connection is not None and not self._connection.closed:
            return self._connection, True
        # It may have to ask a name server.
        conninfo = await asyncio.to_thread(self._conninfo)
        self._connection = await AsyncConnection.connect(conninfo, autocommit=True)
        return self._connection, False

    async def _drop(self, connection: AsyncConnection) -> None:
        if self._connection is connection:
            self._connection = None
        await connection.close()


async def _commit(connection: AsyncConnection, submissions: Sequence[Submission | None]) -> _Answers:
    answers = iter(await submit(connection, [one for one in submissions if one is not None]))
    if None in submissions:
        await make_durable(connection)
    return [None if one is None else next(answers) for one in submissions]


def _fail(future: asyncio.Future[Accepted | None], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
