"""Scenes for faults: on the session's servers, or on servers of the test's own, which may be killed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.postgres import EmbeddedPostgres
from cli.valkey import EmbeddedValkey
from tests.faults.scene import Scene, scene_in


@pytest.fixture
def scene(tmp_path: Path, database_url: str, redis_url: str) -> Iterator[Scene]:
    with scene_in(tmp_path / "scene", database_url=database_url, redis_url=redis_url) as scene:
        yield scene


@pytest.fixture
def scene_with_own_valkey(tmp_path: Path, database_url: str, own_valkey: EmbeddedValkey) -> Iterator[Scene]:
    with scene_in(tmp_path / "scene", database_url=database_url, redis_url=own_valkey.url) as scene:
        yield scene


@pytest.fixture
def scene_with_own_postgres(
    tmp_path: Path, own_postgres: EmbeddedPostgres, redis_url: str
) -> Iterator[Scene]:
    with scene_in(tmp_path / "scene", database_url=own_postgres.url, redis_url=redis_url) as scene:
        yield scene
