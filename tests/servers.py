"""Real PostgreSQL and Valkey for tests: one of each for the session, a fresh database for each test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count, cycle
from uuid import uuid4

import psycopg
import pytest
import redis
from psycopg.sql import SQL, Identifier

from cli.migrate import migrate
from cli.postgres import EmbeddedPostgres
from cli.valkey import EmbeddedValkey

VALKEY_DATABASES = 1024
_TEMPLATE = "migrated"
_END_OTHERS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)
_TABLES = (
    "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
    " AND relkind IN ('r', 'p') AND NOT relispartition AND relname <> 'alembic_version'"
)


class Databases:
    """Hands out databases that are copies of one that was migrated once."""

    def __init__(self, server: EmbeddedPostgres) -> None:
        self._server = server
        self._numbers = count(1)
        self._emptied: list[str] = []
        self._execute("CREATE DATABASE {}", _TEMPLATE)
        migrate(server.database_url(_TEMPLATE))

    def _execute(self, statement: str, *names: str) -> None:
        with psycopg.connect(self._server.database_url("postgres"), autocommit=True) as connection:
            connection.execute(SQL(statement).format(*map(Identifier, names)))

    @contextmanager
    def for_test(self, request: pytest.FixtureRequest) -> Iterator[str]:
        """`emptied`, unless a test asks for its own database, or starts processes, which may outlive it."""
        is_own = request.node.get_closest_marker("own_database") or "make_stack" in request.fixturenames
        with self.fresh() if is_own else self.emptied() as url:
            yield url

    @contextmanager
    def fresh(self) -> Iterator[str]:
        """The URL of a database with the newest schema and no rows, dropped afterwards."""
        name = self._create()
        try:
            yield self._server.database_url(name)
        finally:
            self._execute("DROP DATABASE {} WITH (FORCE)", name)

    @contextmanager
    def emptied(self) -> Iterator[str]:
        """The URL of a database with no rows that others have used before: for tests that leave its schema
        alone, since emptying costs a fraction of copying.
        """
        name = self._emptied.pop() if self._emptied else self._create()
        try:
            yield self._server.database_url(name)
        finally:
            self._empty(name)
            self._emptied.append(name)

    def _create(self) -> str:
        name = f"test_{next(self._numbers)}_{uuid4().hex[:8]}"
        self._execute("CREATE DATABASE {} TEMPLATE {}", name, _TEMPLATE)
        return name

    def _empty(self, name: str) -> None:
        with psycopg.connect(self._server.database_url(name), autocommit=True) as connection:
            connection.execute(_END_OTHERS)
            tables = [SQL("DELETE FROM {}").format(Identifier(row[0])) for row in connection.execute(_TABLES)]
            # Without foreign keys and triggers, which would want an order and forbid what has ended.
            connection.execute(SQL("; ").join([SQL("SET session_replication_role = replica"), *tables]))


class Keyspaces:
    """Hands out the logical databases of one Valkey in turn, emptied."""

    def __init__(self, server: EmbeddedValkey) -> None:
        self._server = server
        self._numbers = cycle(range(1, VALKEY_DATABASES))

    def fresh(self) -> str:
        """The URL of an empty logical database."""
        url = self._server.database_url(next(self._numbers))
        with redis.Redis.from_url(url) as client:
            client.flushdb()
        return url
