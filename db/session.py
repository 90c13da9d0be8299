"""Connections: one async engine per gateway, one sync engine per worker process."""

from sqlalchemy import Engine, create_engine
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from db.settings import DatabaseSettings


def async_engine(settings: DatabaseSettings) -> AsyncEngine:
    """The gateway's engine. Opens nothing until it is used."""
    return create_async_engine(
        settings.url(),
        pool_size=settings.database_pool_size,
        max_overflow=0,
        pool_timeout=2,
        pool_pre_ping=False,
        isolation_level="AUTOCOMMIT",
    )


def sync_engine(settings: DatabaseSettings, *, pool_size: int = 3) -> Engine:
    """A worker's or the steward's engine. Opens nothing until it is used."""
    return create_engine(
        settings.url(),
        pool_size=pool_size,
        max_overflow=2,
        pool_timeout=5,
        pool_pre_ping=True,
        isolation_level="READ COMMITTED",
    )
