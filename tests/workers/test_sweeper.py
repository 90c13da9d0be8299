"""Files go with their predictions, and no store or database that is away ends the sweeping."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from db.blobs import Blobs, folder_of
from db.ids import floor_id
from db.settings import BlobSettings
from db.tables import File
from tests.stack import wait_until
from tests.workers.workshop import Workshop
from workers.sweeper import Sweeper

Open = Callable[..., Workshop]
NOW = datetime.now(UTC)
EXPIRED = NOW - timedelta(days=30)


@contextmanager
def sweeping(workshop: Workshop, blobs: Blobs) -> Iterator[Sweeper]:
    sweeper = Sweeper(workshop.engine, blobs)
    try:
        yield sweeper
    finally:
        sweeper.close()


def put(blobs: Blobs, made_at: datetime) -> str:
    """A file of a prediction that does not exist; its key."""
    key = f"{folder_of('inputs', floor_id(made_at))}/image.png"
    blobs.put(key, b"x")
    return key


def exists(blobs: Blobs, key: str) -> bool:
    folder, _, name = key.rpartition("/")
    return name in blobs.names(folder)


def test_orphans_are_deleted_when_they_are_a_day_old(open_workshop: Open) -> None:
    workshop = open_workshop()
    new, old = put(workshop.blobs, NOW), put(workshop.blobs, NOW - timedelta(days=2))
    with sweeping(workshop, workshop.blobs) as sweeper:
        sweeper.begin(expired_before=EXPIRED)
        wait_until(lambda: not exists(workshop.blobs, old), 5)
    assert exists(workshop.blobs, new)


def test_what_was_swept_once_is_swept_again_when_it_has_expired(open_workshop: Open) -> None:
    workshop = open_workshop()
    young, old = NOW - timedelta(days=2), NOW - timedelta(days=40)
    first = [put(workshop.blobs, young), put(workshop.blobs, old)]
    with sweeping(workshop, workshop.blobs) as sweeper:
        sweeper.begin(expired_before=EXPIRED)
        wait_until(lambda: not any(exists(workshop.blobs, key) for key in first), 5)
        again = [put(workshop.blobs, young), put(workshop.blobs, old)]

        def is_swept() -> bool:
            sweeper.begin(expired_before=EXPIRED)
            return not exists(workshop.blobs, again[1])

        wait_until(is_swept, 5)
    assert exists(workshop.blobs, again[0])


def test_a_store_that_comes_back_is_swept_in_the_next_round(
    open_workshop: Open, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    workshop = open_workshop()
    path = tmp_path / "another"
    path.write_text("no directory")
    blobs = Blobs(BlobSettings(blob_store=str(path)))
    with sweeping(workshop, blobs) as sweeper:
        sweeper.begin(expired_before=EXPIRED)
        wait_until(lambda: "cannot be swept now" in caplog.text, 5)
        path.unlink()
        old = put(blobs, NOW - timedelta(days=2))

        def is_swept() -> bool:
            sweeper.begin(expired_before=EXPIRED)
            return not exists(blobs, old)

        wait_until(is_swept, 5)


def upload(workshop: Workshop, made_at: datetime, *, lasts: timedelta) -> str:
    """A file that somebody uploaded then; its key."""
    file_id = floor_id(made_at)
    with Session(workshop.engine) as session:
        session.add(
            File(
                id=file_id,
                owner_id="somebody",
                name="a.txt",
                content_type="text/plain",
                size=1,
                sha256="",
                md5="",
                created_at=made_at,
                expires_at=made_at + lasts,
            )
        )
        session.commit()
    workshop.blobs.put(folder_of("files", file_id), b"x")
    return folder_of("files", file_id)


def test_an_upload_goes_when_it_expires_and_not_before(open_workshop: Open) -> None:
    workshop = open_workshop()
    day = timedelta(days=1)
    expired = [
        upload(workshop, NOW - 0.1 * day, lasts=0.05 * day),
        upload(workshop, NOW - 3 * day, lasts=day),
    ]
    kept = [upload(workshop, NOW, lasts=day), upload(workshop, NOW - 40 * day, lasts=50 * day)]
    unfinished = folder_of("files", floor_id(NOW - 2 * day))
    workshop.blobs.put(unfinished, b"x")
    with sweeping(workshop, workshop.blobs) as sweeper:
        sweeper.begin(expired_before=EXPIRED)
        wait_until(lambda: not any(exists(workshop.blobs, key) for key in [*expired, unfinished]), 5)
        assert all(exists(workshop.blobs, key) for key in kept)
    with workshop.engine.connect() as connection:
        assert set(connection.scalars(select(File.id))) == {key.rpartition("/")[2] for key in kept}
