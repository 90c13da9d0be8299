"""The files of predictions that are gone are deleted; those of others, and new ones, stay."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from db import retention
from db.blobs import ERA_LENGTH, Blobs, folder_of
from db.ids import floor_id
from db.session import sync_engine
from db.settings import BlobSettings, DatabaseSettings

NOW = datetime.now(UTC)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = sync_engine(DatabaseSettings(database_url=database_url))
    yield engine
    engine.dispose()


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(BlobSettings(blob_store=str(tmp_path / "blobs")))


def prediction(engine: Engine, made_at: datetime) -> str:
    """A finished prediction of that age; its id."""
    statement = text(
        "INSERT INTO predictions"
        " (id, owner_id, version_id, model_id, status, input, created_at, completed_at)"
        " VALUES (:id, 'a', 'v', 'm', 'canceled', '{}', :at, :at)"
    )
    with engine.connect() as connection:
        connection.execute(statement, {"id": floor_id(made_at), "at": made_at})
    return floor_id(made_at)


def test_eras_are_those_that_ended_before_a_moment(blobs: Blobs) -> None:
    old, young = floor_id(NOW - timedelta(days=3)), floor_id(NOW)
    for prediction_id in (old, young):
        blobs.put(f"{folder_of('predictions', prediction_id)}/1/out", b"x")
    found = retention.eras(blobs, "predictions", before=NOW - timedelta(days=1))
    assert found == [f"predictions/{old[:ERA_LENGTH]}"]
    assert retention.eras(blobs, "inputs", before=NOW) == []


def test_only_files_without_a_prediction_are_deleted(engine: Engine, blobs: Blobs) -> None:
    moment = NOW - timedelta(days=3)
    kept = prediction(engine, moment)
    gone = [floor_id(moment + timedelta(milliseconds=n)) for n in range(1, 4)]
    for prediction_id in (kept, *gone):
        blobs.put(f"{folder_of('predictions', prediction_id)}/1/out", b"x")
        blobs.put(f"{folder_of('predictions', prediction_id)}/2/out", b"x")
    folder = f"predictions/{kept[:ERA_LENGTH]}"
    assert retention.delete_orphans(engine, blobs, folder) == 3
    assert blobs.names(folder) == [kept]
    assert blobs.names(f"{folder}/{kept}") == ["1", "2"]
    with engine.connect() as connection:
        connection.execute(text("DELETE FROM predictions"))
    neighbour = prediction(engine, moment + timedelta(days=2))
    assert neighbour[:ERA_LENGTH] != kept[:ERA_LENGTH]
    assert retention.delete_orphans(engine, blobs, folder) == 1
    assert blobs.names("predictions") == []
