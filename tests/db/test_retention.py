"""The files of predictions that are gone are deleted; those of others, and new ones, stay."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from db import retention
from db.blobs import ERA_LENGTH, Blobs, folder_of
from db.ids import floor_id, new_id
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


def test_a_file_that_a_batch_reads_outlives_its_time_and_ended_batches_go(
    engine: Engine, blobs: Blobs
) -> None:
    file, batch = new_id(), new_id()
    blobs.put(folder_of("files", file), b"{}")
    with engine.connect() as connection:
        connection.execute(
            text(
                "INSERT INTO files (id, owner_id, name, content_type, size, sha256, md5, purpose, expires_at)"
                " VALUES (:id, 'a', 'name', 'application/jsonl', 2, '', '', 'batch', now())"
            ),
            {"id": file},
        )
        connection.execute(
            text(
                "INSERT INTO batches (id, owner_id, endpoint, input_file_id, expires_at, due_at)"
                " VALUES (:id, 'a', '/v1/embeddings', :file, now(), now())"
            ),
            {"id": batch, "file": file},
        )
        later = datetime.now(UTC) + timedelta(days=1)
        assert retention.delete_expired_files(engine, blobs) == 0
        retention.forget(engine, before=later, keys_hours=1)
        assert connection.scalar(text("SELECT count(*) FROM batches")) == 1
        connection.execute(text("UPDATE batches SET due_at = NULL"))
        assert retention.delete_expired_files(engine, blobs) == 1
        assert blobs.names(f"files/{file[:ERA_LENGTH]}") == []
        retention.forget(engine, before=later, keys_hours=1)
        assert connection.scalar(text("SELECT count(*) FROM batches")) == 0


def test_told_webhooks_go_with_their_predictions_and_take_their_attempts_along(engine: Engine) -> None:
    old, young = floor_id(NOW - timedelta(days=3)), floor_id(NOW)
    deliveries = text(
        "INSERT INTO webhook_deliveries (prediction_id, owner_id, event, url, next_attempt_at)"
        " VALUES (:old, 'a', 'completed', 'u', NULL), (:old, 'a', 'start', 'u', now()),"
        " (:young, 'a', 'completed', 'u', NULL)"
    )
    attempts = text(
        "INSERT INTO webhook_attempts (delivery_id, attempt, milliseconds)"
        " SELECT id, 1, 5 FROM webhook_deliveries"
    )
    with engine.connect() as connection:
        connection.execute(deliveries, {"old": old, "young": young})
        connection.execute(attempts)
    retention.forget(engine, before=NOW - timedelta(days=1), keys_hours=1)
    left = text(
        "SELECT d.prediction_id, d.event, a.attempt FROM webhook_deliveries d"
        " LEFT JOIN webhook_attempts a ON a.delivery_id = d.id ORDER BY d.prediction_id"
    )
    with engine.connect() as connection:
        assert connection.execute(left).all() == [(old, "start", 1), (young, "completed", 1)]
