"""How often models were asked for: each prediction counts once, soon after it was made."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, text

from db.ids import floor_id
from db.run_counts import PAUSE_SECONDS, SETTLED_AFTER, RunCounts, add_up
from db.session import sync_engine
from db.settings import DatabaseSettings

pytestmark = pytest.mark.own_database

NOW = datetime.now(UTC)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = sync_engine(DatabaseSettings(database_url=database_url))
    with engine.connect() as connection:
        for model in ("a", "b"):
            connection.execute(
                text(
                    "INSERT INTO models (id, owner, owner_key, name, name_key)"
                    " VALUES (:model, 'o', 'o', :model, :model)"
                ),
                {"model": model},
            )
    yield engine
    engine.dispose()


def predict(engine: Engine, model: str, made_at: datetime) -> None:
    with engine.connect() as connection:
        connection.execute(
            text(
                "INSERT INTO predictions (id, owner_id, version_id, model_id, input, created_at)"
                " VALUES (:id, 'o', 'v', :model, '{}', :at)"
            ),
            {"id": floor_id(made_at), "model": model, "at": made_at},
        )


def counts(engine: Engine) -> dict[str, int]:
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT id, run_count FROM models"))
        return {row.id: row.run_count for row in rows}


def test_each_prediction_counts_once(engine: Engine) -> None:
    for minute in range(3):
        predict(engine, "a", NOW + timedelta(minutes=minute))
    predict(engine, "gone", NOW + timedelta(seconds=1))
    add_up(engine, until=NOW + timedelta(minutes=1))
    assert counts(engine) == {"a": 1, "b": 0}
    predict(engine, "b", NOW + timedelta(minutes=1.5))
    for _ in range(2):
        add_up(engine, until=NOW + timedelta(minutes=2))
        assert counts(engine) == {"a": 2, "b": 1}
    add_up(engine, until=NOW)
    add_up(engine, until=NOW + timedelta(minutes=3))
    assert counts(engine) == {"a": 3, "b": 1}


def test_the_steward_counts_once_a_minute_what_has_settled(engine: Engine) -> None:
    predict(engine, "a", NOW - 2 * SETTLED_AFTER)
    # However long ago this module was imported.
    predict(engine, "a", NOW + timedelta(hours=1))
    clock = [0.0]
    runs = RunCounts(engine, clock=lambda: clock[0])
    assert runs.run_due()
    assert counts(engine)["a"] == 1
    assert not runs.run_due()
    clock[0] += PAUSE_SECONDS
    assert runs.run_due()
    assert counts(engine)["a"] == 1
