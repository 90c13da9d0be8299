"""What a PostgreSQL of a test's own has written to its log and not to the disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg


@contextmanager
def unflushed(url: str) -> Iterator[Callable[[], int]]:
    """Tells how many bytes a crash would lose now. The server flushes none of them behind the test's back."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET wal_writer_delay = '10s'")
        connection.execute("SELECT pg_reload_conf()")

        def unflushed_bytes() -> int:
            rows = connection.execute("SELECT pg_current_wal_insert_lsn() - pg_current_wal_flush_lsn()")
            found = rows.fetchone()
            return int(found[0]) if found else 0

        yield unflushed_bytes
