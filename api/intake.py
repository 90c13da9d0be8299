"""Group commit: submissions that arrive while a commit is under way share the next one."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Sequence
from typing import Literal

import psycopg
from psycopg import AsyncConnection

from api.errors import Unavailable
from db.errors import IdempotencyMismatch
from db.submissions import Accepted, Submission, submit
from workers.bells import GatewayBells

log = logging.getLogger(__name__)

MAX_GROUP = 500
# Beyond this the database is so slow that waiting would be worse than being told to come back.
MAX_WAITING = 20_000

_Waiting = tuple[Submission, "asyncio.Future[Accepted]"]


class Intake:
    """Makes submissions durable, many in one commit, and then rings the bells of their pools.

    There is no timer: an idle gateway commits at once. An answer is given only after the commit.
    """

    def __init__(
        self,
        conninfo: str,
        bells: GatewayBells,
        *,
        timeout_seconds: float,
        failpoint: Literal["after_commit"] | None = None,
    ) -> None:
        self._conninfo = conninfo
        self._bells = bells
        self._timeout_seconds = timeout_seconds
        self._failpoint = failpoint
        self._connection: AsyncConnection | None = None
        self._waiting: list[_Waiting] = []
        self._writing: asyncio.Task[None] | None = None

    async def accept(self, submission: Submission) -> Accepted:
        """Return when the submission is committed.

        Raises `Unavailable` when it is not, or nobody can tell, and `IdempotencyMismatch`.
        """
        if len(self._waiting) >= MAX_WAITING:
            raise Unavailable("too many submissions wait for the database")
        future: asyncio.Future[Accepted] = asyncio.get_running_loop().create_future()
        self._waiting.append((submission, future))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write(), name="intake")
        return await future

    async def close(self) -> None:
        """Commit what was handed in, and disconnect."""
        if self._writing is not None:
            await self._writing
        await self._disconnect()

    async def _write(self) -> None:
        try:
            while self._waiting:
                group, self._waiting = self._waiting[:MAX_GROUP], self._waiting[MAX_GROUP:]
                await self._commit(group)
        finally:
            self._writing = None

    async def _commit(self, group: Sequence[_Waiting]) -> None:
        try:
            answers = await self._submit([submission for submission, _ in group])
        except psycopg.DataError as error:
            await self._one_by_one(group, error)
        except (psycopg.Error, OSError, TimeoutError) as error:
            log.error("%d submissions could not be committed: %s", len(group), error)
            for _, future in group:
                _fail(future, Unavailable("the database is out of reach now"))
        except Exception as error:
            log.exception("%d submissions could not be committed", len(group))
            for _, future in group:
                _fail(future, error)
        else:
            self._answer(group, answers)

    def _answer(self, group: Sequence[_Waiting], answers: Sequence[Accepted | IdempotencyMismatch]) -> None:
        if self._failpoint == "after_commit":
            os._exit(70)
        self._bells.ring({submission.pool for submission, _ in group})
        for (_, future), answer in zip(group, answers, strict=True):
            if isinstance(answer, IdempotencyMismatch):
                _fail(future, answer)
            elif not future.done():
                future.set_result(answer)

    async def _one_by_one(self, group: Sequence[_Waiting], error: psycopg.DataError) -> None:
        """One that cannot be stored fails alone."""
        if len(group) == 1:
            _fail(group[0][1], error)
            return
        for one in group:
            await self._commit([one])

    async def _submit(self, submissions: Sequence[Submission]) -> Sequence[Accepted | IdempotencyMismatch]:
        """Submit, a second time on a new connection if the first turns out to be dead. Ids make that safe."""
        for last_try in (False, True):
            try:
                async with asyncio.timeout(self._timeout_seconds):
                    return await submit(await self._connected(), submissions)
            except (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure):
                if last_try:
                    raise
            except (psycopg.OperationalError, psycopg.InterfaceError, OSError):
                had_connection = self._connection is not None
                await self._disconnect()
                if last_try or not had_connection:
                    raise
            except (TimeoutError, asyncio.CancelledError):
                await self._disconnect()
                raise
        raise AssertionError("the second try returns or raises")

    async def _connected(self) -> AsyncConnection:
        if self._connection is None or self._connection.closed:
            self._connection = await AsyncConnection.connect(self._conninfo, autocommit=True)
        return self._connection

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()


def _fail(future: asyncio.Future[Accepted], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
