"""Two sessions of one database, truly interleaved: one statement stays uncommitted while others run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Any, TypeVar

import psycopg
from psycopg import AsyncConnection
from sqlalchemy import Engine, StaticPool, create_engine
from sqlalchemy.ext.asyncio import AsyncEngine

from db.lanes import LaneInfo, register
from db.leases import Leases
from db.session import async_engine, sync_engine
from db.settings import DatabaseSettings
from db.submissions import Accepted, submit
from tests.db.requests import POOL, Request

T = TypeVar("T")
PATIENCE_SECONDS = 5


class OpenTransaction:
    """A session that lets what is done through `engine` stay uncommitted between `begin` and `end`."""

    def __init__(self, settings: DatabaseSettings) -> None:
        # One connection, which SQLAlchemy neither commits nor rolls back behind our back.
        self.engine = create_engine(
            settings.url(),
            poolclass=StaticPool,
            isolation_level="AUTOCOMMIT",
            skip_autocommit_rollback=True,
            pool_reset_on_return=None,
        )

    def begin(self) -> None:
        self._execute("BEGIN")

    def end(self, *, commit: bool) -> None:
        self._execute("COMMIT" if commit else "ROLLBACK")

    def _execute(self, command: str) -> None:
        with self.engine.connect() as connection:
            connection.exec_driver_sql(command)


@dataclass(frozen=True)
class Sessions:
    """The connections of the two sides, and a thread in which one side may wait for the other."""

    engine: Engine
    gateway: AsyncEngine
    intake: AsyncConnection[Any]
    open: OpenTransaction
    observer: psycopg.Connection[Any]
    thread: ThreadPoolExecutor
    loop: asyncio.AbstractEventLoop

    def beside(self, operation: Callable[[], T], *, when_blocked: Callable[[], None]) -> T:
        """What `operation` returns; should it have to wait for a lock, `when_blocked` is called once."""
        future = self.thread.submit(operation)
        try:
            return future.result(timeout=0.05)
        except TimeoutError:
            deadline = monotonic() + PATIENCE_SECONDS
            while not future.done() and monotonic() < deadline:
                if self._someone_waits_for_a_lock():
                    when_blocked()
                    break
        return future.result(timeout=PATIENCE_SECONDS)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run one of the gateway's verbs to its end."""
        return self.loop.run_until_complete(work)

    def submit(self, *requests: Request) -> list[str]:
        """Submit them in one commit; the ids that the answers name."""
        batch = [request.submission() for request in requests]
        answers = self.run(submit(self.intake, batch))
        return [answer.id for answer in answers if isinstance(answer, Accepted)]

    def lane(self, name: str = "lane", *, slot: int = 0) -> Leases:
        """A lane that has just come."""
        register(self.engine, LaneInfo(name, "worker", slot, "host", pid=1, pools=[POOL]))
        return Leases(self.engine, name)

    def rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """What a query finds, as the observer sees it."""
        return self.observer.execute(query, parameters).fetchall()

    def _someone_waits_for_a_lock(self) -> bool:
        query = (
            "SELECT EXISTS (SELECT 1 FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock')"
        )
        return bool(self.rows(query)[0][0])


@contextmanager
def sessions(database_url: str) -> Iterator[Sessions]:
    """Open everything, and close it again."""
    settings = DatabaseSettings(database_url=database_url)
    loop = asyncio.new_event_loop()
    gateway = async_engine(settings)
    intake = loop.run_until_complete(AsyncConnection.connect(settings.conninfo(), autocommit=True))
    engine = sync_engine(settings)
    uncommitted = OpenTransaction(settings)
    try:
        with (
            psycopg.connect(settings.conninfo(), autocommit=True, options="-c lock_timeout=10s") as observer,
            ThreadPoolExecutor(max_workers=1) as thread,
        ):
            yield Sessions(engine, gateway, intake, uncommitted, observer, thread, loop)
    finally:
        uncommitted.engine.dispose()
        engine.dispose()
        loop.run_until_complete(intake.close())
        loop.run_until_complete(gateway.dispose())
        loop.close()
