"""How the gateway reads and writes: one session for one reading, one transaction for one change."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

T = TypeVar("T")


async def read(engine: AsyncEngine, query: Callable[[AsyncSession], Awaitable[T]]) -> T:
    """What `query` finds. Tried a second time when the connection turns out to be dead.

    A restarted server leaves dead connections in the pool; the first that fails clears them all. Raises
    `sqlalchemy.exc.OperationalError` when the server cannot be reached.
    """
    try:
        return await _read_once(engine, query)
    except DBAPIError as error:
        if not error.connection_invalidated:
            raise
    return await _read_once(engine, query)


async def _read_once(engine: AsyncEngine, query: Callable[[AsyncSession], Awaitable[T]]) -> T:
    async with AsyncSession(engine, expire_on_commit=False) as session:
        return await query(session)


@asynccontextmanager
async def write(engine: AsyncEngine) -> AsyncIterator[AsyncSession]:
    """One READ COMMITTED transaction; it commits when the block ends and rolls back when it raises."""
    transactional = engine.execution_options(isolation_level="READ COMMITTED")
    async with AsyncSession(transactional, expire_on_commit=False) as session, session.begin():
        yield session
