"""The front of the queue is freed of dead rows, when there are enough of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text

from db.session import sync_engine
from db.settings import DatabaseSettings
from db.vacuum import QueueVacuum

pytestmark = pytest.mark.own_database

_DEAD = text("SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = 'queue'")
_PAST = text(
    """
    INSERT INTO queue (id, pool, version_id, owner_id, rank)
    SELECT 'p' || n, 'echo', 'v', 'o', n FROM generate_series(1, :count) n
    """
)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = sync_engine(DatabaseSettings(database_url=database_url))
    yield engine
    engine.dispose()


def leave_dead(engine: Engine, count: int) -> None:
    """Let so many rows pass through the queue, and PostgreSQL take note of it."""
    with engine.begin() as connection:
        connection.execute(_PAST, {"count": count})
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM queue"))
        connection.execute(text("SELECT pg_stat_force_next_flush()"))


def dead_rows(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.scalar(_DEAD) or 0)


@pytest.mark.slow
def test_many_dead_rows_are_taken_away_once_in_a_while(engine: Engine) -> None:
    now = 1000.0
    vacuum = QueueVacuum(engine, clock=lambda: now)
    leave_dead(engine, 2000)
    assert dead_rows(engine) >= 2000
    assert vacuum.run_due()
    assert dead_rows(engine) == 0
    leave_dead(engine, 2000)
    assert not vacuum.run_due(), "so soon after the last time"
    now += 60
    assert vacuum.run_due()


@pytest.mark.slow
def test_few_dead_rows_stay(engine: Engine) -> None:
    leave_dead(engine, 100)
    assert not QueueVacuum(engine).run_due()
