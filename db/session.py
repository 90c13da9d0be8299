"""Connections: one async engine per gateway, one sync engine per worker process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast
from weakref import WeakKeyDictionary, proxy

import psycopg
from psycopg import Connection as PsycopgConnection
from psycopg import Cursor
from psycopg.rows import namedtuple_row
from sqlalchemy import Connection, Engine, PoolProxiedConnection, TextClause, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from db.settings import DatabaseSettings

# As many threads of a lane are at the database at once as a rule: one claims while another finishes.
MAX_KEPT = 2


def async_engine(settings: DatabaseSettings) -> AsyncEngine:
    """The gateway's engine. Opens nothing until it is used."""
    engine = create_async_engine(
        settings.url(),
        pool_size=settings.database_pool_size,
        max_overflow=0,
        pool_use_lifo=True,
        pool_timeout=2,
        isolation_level="AUTOCOMMIT",
    )
    _dial_by(settings, engine.sync_engine)
    return engine


# A lane's few statements go by keys. Planned anew each time, which is what PostgreSQL chooses because of
# the partitions and the LIMIT, they cost twice as much; a plan that is kept must not rest on how small
# the tables were when it was made.
_LANE_PLANNING = (
    "SET plan_cache_mode = force_generic_plan",
    "SET enable_seqscan = off",
    "SET enable_bitmapscan = off",
)


def lane_engine(settings: DatabaseSettings) -> Engine:
    """A lane's engine: its statements are planned once for each connection, by keys."""
    engine = sync_engine(settings, pool_size=4)

    @event.listens_for(engine, "connect")
    def _keep_plans(connection: Any, _: object) -> None:
        connection.autocommit = True
        for statement in _LANE_PLANNING:
            connection.execute(statement)

    return engine


def sync_engine(settings: DatabaseSettings, *, pool_size: int = 3) -> Engine:
    """A worker's or the steward's engine: a statement is a transaction unless `transaction` opens one."""
    engine = create_engine(
        settings.url(),
        pool_size=pool_size,
        max_overflow=2,
        pool_use_lifo=True,
        pool_timeout=5,
        isolation_level="AUTOCOMMIT",
    )
    _dial_by(settings, engine)
    return engine


def _dial_by(settings: DatabaseSettings, engine: Engine) -> None:
    """Have each new connection go to the address that the settings give at that time."""

    @event.listens_for(engine, "do_connect")
    def _add_address(_: Any, __: Any, ___: Any, parameters: dict[str, Any]) -> None:
        address = settings.hostaddr()
        if address:
            parameters["hostaddr"] = address


class Driver:
    """Cursors of psycopg's own on an engine's connections, with rows that have names.

    For the few statements on a prediction's way: SQLAlchemy's layers take longer over them than the
    database. Safe to share between threads.
    """

    def __init__(self, engine: Engine) -> None:
        # The engine holds its driver, not the driver its engine.
        self._engine: Engine = proxy(engine)
        self._kept: list[PoolProxiedConnection] = []
        event.listen(engine, "engine_disposed", self._let_go)

    @classmethod
    def of(cls, engine: Engine) -> Driver:
        """The engine's driver, one for all who ask."""
        return _drivers.get(engine) or _drivers.setdefault(engine, cls(engine))

    @contextmanager
    def cursor(self) -> Iterator[Cursor[Any]]:
        """A cursor on a connection of its own. Raises SQLAlchemy's errors all the same."""
        pooled = self._connection()
        connection = cast(PsycopgConnection[Any], pooled.driver_connection)
        try:
            with connection.cursor(row_factory=namedtuple_row) as cursor:
                yield cursor
        except psycopg.Error as error:
            if lost := connection.closed:
                pooled.invalidate(error)
                # The others in the pool have lost theirs too.
                self._engine.dispose()
            else:
                pooled.close()
            raise _translated(error, self._engine, lost=lost) from error
        except BaseException:  # also an interruption: the connection may be in the middle of something
            pooled.close()
            raise
        if len(self._kept) < MAX_KEPT:
            self._kept.append(pooled)
        else:
            pooled.close()

    def _connection(self) -> PoolProxiedConnection:
        try:
            return self._kept.pop()
        except IndexError:
            pass
        try:
            return self._engine.raw_connection()
        except psycopg.Error as error:
            raise _translated(error, self._engine, lost=True) from error

    def _let_go(self, _: Engine) -> None:
        while self._kept:
            self._kept.pop().invalidate()


_drivers: WeakKeyDictionary[Engine, Driver] = WeakKeyDictionary()


def _translated(error: psycopg.Error, engine: Engine, *, lost: bool) -> BaseException:
    return DBAPIError.instance(
        None, None, error, psycopg.Error, connection_invalidated=lost, dialect=engine.dialect
    )


def driver_sql(statement: TextClause, engine: Engine) -> str:
    """A statement in psycopg's words, with its parameters as %(name)s."""
    return str(statement.compile(dialect=engine.dialect))


@contextmanager
def transaction(engine: Engine) -> Iterator[Connection]:
    """Several statements that hold or fall together."""
    with (
        engine.connect().execution_options(isolation_level="READ COMMITTED") as connection,
        connection.begin(),
    ):
        yield connection
