"""Connections: one async engine per gateway, one sync engine per worker process."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from db.settings import DatabaseSettings


def async_engine(settings: DatabaseSettings) -> AsyncEngine:
    """The gateway's engine. Opens nothing until it is used."""
    return create_async_engine(
        settings.url(),
        pool_size=settings.database_pool_size,
        max_overflow=0,
        pool_use_lifo=True,
        pool_timeout=2,
        isolation_level="AUTOCOMMIT",
    )


def sync_engine(settings: DatabaseSettings, *, pool_size: int = 3) -> Engine:
    """A worker's or the steward's engine: a statement is a transaction unless `transaction` opens one."""
    return create_engine(
        settings.url(),
        pool_size=pool_size,
        max_overflow=2,
        pool_use_lifo=True,
        pool_timeout=5,
        isolation_level="AUTOCOMMIT",
    )


@contextmanager
def transaction(engine: Engine) -> Iterator[Connection]:
    """Several statements that hold or fall together."""
    with (
        engine.connect().execution_options(isolation_level="READ COMMITTED") as connection,
        connection.begin(),
    ):
        yield connection
