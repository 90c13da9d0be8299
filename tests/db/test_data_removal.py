"""After a time that operators choose, finished predictions are records without data."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from db import data_removal
from db.blobs import Blobs, folder_of
from db.data_removal import remove_data
from db.ids import floor_id
from db.session import sync_engine
from db.settings import BlobSettings, DatabaseSettings

NOW = datetime.now(UTC)
LIMIT = NOW - timedelta(hours=1)
OLD = NOW - timedelta(hours=2)
WAITING = text(
    "INSERT INTO predictions (id, owner_id, version_id, model_id, input, created_at)"
    """ VALUES (:id, 'a', 'v', 'm', '{"text": "secret"}', now())"""
)
QUEUED = text("INSERT INTO queue (id, pool, version_id, owner_id, rank) VALUES (:id, 'pool', 'v', 'a', 0)")
FINISH = text(
    "UPDATE predictions SET status = 'succeeded', completed_at = now(), output = CAST(:output AS json),"
    " logs = 'secret' WHERE id = :id"
)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = sync_engine(DatabaseSettings(database_url=database_url, _env_file=None))
    yield engine
    engine.dispose()


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(BlobSettings(blob_store=str(tmp_path), _env_file=None))


def wait(engine: Engine, made_at: datetime) -> str:
    """A prediction that was made then and still waits; its id."""
    identifier = floor_id(made_at)
    with engine.connect() as connection:
        for statement in (WAITING, QUEUED):
            connection.execute(statement, {"id": identifier})
    return identifier


def finish(engine: Engine, identifier: str, output: str = '"secret"') -> str:
    with engine.connect() as connection:
        connection.execute(FINISH, {"id": identifier, "output": output})
        connection.execute(text("DELETE FROM queue WHERE id = :id"), {"id": identifier})
    return identifier


def data_of(engine: Engine, identifier: str) -> tuple[Any, ...]:
    query = text("SELECT input, output, logs, data_removed FROM predictions WHERE id = :id")
    with engine.connect() as connection:
        return tuple(connection.execute(query, {"id": identifier}).one())


KEPT: tuple[Any, ...] = ({"text": "secret"}, "secret", "secret", False)
REMOVED: tuple[Any, ...] = ({}, None, None, True)


def test_old_data_go_and_the_record_stays(engine: Engine, blobs: Blobs) -> None:
    old, new = finish(engine, wait(engine, OLD)), finish(engine, wait(engine, NOW))
    remove_data(engine, blobs, since="", before=LIMIT)
    assert data_of(engine, old) == REMOVED
    assert data_of(engine, new) == KEPT
    with engine.connect() as connection:
        record = connection.execute(
            text("SELECT status, owner_id FROM predictions WHERE id = :id"), {"id": old}
        )
        assert tuple(record.one()) == ("succeeded", "a")


def test_files_go_with_the_data_and_those_of_others_stay(engine: Engine, blobs: Blobs) -> None:
    old = wait(engine, OLD)
    key = f"{folder_of('predictions', old)}/1/out.png"
    others = f"{folder_of('predictions', floor_id(NOW))}/1/out.png"
    for one in (key, others):
        blobs.put(one, b"x")
    finish(engine, old, output=f'["blob:{key}"]')
    remove_data(engine, blobs, since="", before=LIMIT)
    assert blobs.names(folder_of("predictions", old)) == []
    assert blobs.names(folder_of("predictions", floor_id(NOW))) == ["1"]


def test_what_ends_late_is_not_passed_over(engine: Engine, blobs: Blobs) -> None:
    slow = wait(engine, OLD)
    later = finish(engine, wait(engine, OLD + timedelta(minutes=5)))
    since = remove_data(engine, blobs, since="", before=LIMIT)
    assert data_of(engine, later) == REMOVED
    assert since == slow
    finish(engine, slow)
    assert remove_data(engine, blobs, since=since, before=LIMIT) == floor_id(LIMIT)
    assert data_of(engine, slow) == REMOVED


BATCH = text(
    "INSERT INTO batches (id, owner_id, endpoint, input_file_id, expires_at, due_at)"
    " VALUES (:id, :owner, '/v1/embeddings', 'input', now(), now())"
)
FILE = text(
    "INSERT INTO files (id, owner_id, name, content_type, size, sha256, md5, purpose, expires_at)"
    " VALUES (:id, 'a', 'name', 'application/jsonl', 1, '', '', :purpose, now() + interval '1 day')"
)


@pytest.mark.parametrize(("owner", "expected"), [("a", KEPT), ("b", REMOVED)])
def test_what_a_batch_is_to_answer_with_stays_until_it_has_ended(
    engine: Engine, blobs: Blobs, owner: str, expected: tuple[Any, ...]
) -> None:
    batch = floor_id(OLD - timedelta(minutes=1))
    with engine.connect() as connection:
        connection.execute(BATCH, {"id": batch, "owner": owner})
    done = finish(engine, wait(engine, OLD))
    since = remove_data(engine, blobs, since="", before=LIMIT)
    assert data_of(engine, done) == expected
    assert since == batch
    with engine.connect() as connection:
        connection.execute(text("UPDATE batches SET due_at = NULL"))
    remove_data(engine, blobs, since=since, before=LIMIT)
    assert data_of(engine, done) == REMOVED


def test_the_files_of_batches_expire_with_the_data_and_uploads_do_not(engine: Engine, blobs: Blobs) -> None:
    purposes = {"batch": OLD, "batch_output": OLD + timedelta(minutes=1), None: OLD + timedelta(minutes=2)}
    with engine.connect() as connection:
        for purpose, made_at in [*purposes.items(), ("batch", NOW)]:
            connection.execute(FILE, {"id": floor_id(made_at), "purpose": purpose})
    remove_data(engine, blobs, since="", before=LIMIT)
    with engine.connect() as connection:
        left = connection.scalars(text("SELECT id FROM files WHERE expires_at > now() ORDER BY id")).all()
    assert left == [floor_id(OLD + timedelta(minutes=2)), floor_id(NOW)]


def test_a_long_history_goes_in_batches_and_a_stop_is_heard(engine: Engine, blobs: Blobs) -> None:
    with engine.connect() as connection:
        connection.execute(
            text(
                "INSERT INTO predictions"
                " (id, owner_id, version_id, model_id, input, created_at, completed_at, status)"
                " SELECT :prefix || lpad(n::text, 6, '0'), 'a', 'v', 'm', '{}', now(), now(), 'failed'"
                " FROM generate_series(1, :many) n"
            ),
            {"prefix": floor_id(OLD)[:20], "many": 2 * data_removal._BATCH + 1},
        )
    count = text("SELECT count(*) FROM predictions WHERE data_removed")
    rounds = iter([False, True])
    since = remove_data(engine, blobs, since="", before=LIMIT, stopping=lambda: next(rounds))
    with engine.connect() as connection:
        assert connection.scalar(count) == data_removal._BATCH
        remove_data(engine, blobs, since=since, before=LIMIT)
        assert connection.scalar(count) == 2 * data_removal._BATCH + 1
