"""Workshops, and the model type that they use, installed as a package would bring it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from model_types import registry
from tests.servers import Databases
from tests.workers.sender import Sender
from tests.workers.workshop import POOL, Workshop


@pytest.fixture
def database_url(databases: Databases, request: pytest.FixtureRequest) -> Iterator[str]:
    """A migrated database without rows: postgresql://…"""
    with databases.for_test(request) as url:
        yield url


@pytest.fixture
def recording_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The registry knows the recorder, by an entry point."""
    metadata = tmp_path / "recording-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: recording\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        f"[{registry.ENTRY_POINT_GROUP}]\n{POOL} = tests.workers.workshop:INFO\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    registry._by_name.cache_clear()
    yield
    registry._by_name.cache_clear()


@pytest.fixture
def open_workshop(
    recording_type: None, database_url: str, redis_url: str, tmp_path: Path
) -> Iterator[Callable[..., Workshop]]:
    """Opens workshops on this test's database: `open_workshop(v={"max_batch": 2})`."""
    with ExitStack() as cleanup:

        def make(**options: Any) -> Workshop:
            workshop = Workshop(database_url, redis_url, blob_store=tmp_path / "blobs", **options)
            cleanup.callback(workshop.close)
            return workshop

        yield make


@pytest.fixture
def sender(databases: Databases) -> Iterator[Sender]:
    """Predictions with webhooks, in an empty database."""
    with databases.emptied() as url:
        sender = Sender(url)
        yield sender
        sender.close()
