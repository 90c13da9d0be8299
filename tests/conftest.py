"""The fixtures that every test may ask for: real servers, fresh databases, all of Augury."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from cli.migrate import migrate
from cli.postgres import EmbeddedPostgres
from cli.valkey import EmbeddedValkey
from tests.s3 import BUCKET, s3_server
from tests.servers import VALKEY_DATABASES, Databases, Keyspaces
from tests.stack import Stack

_WHOLLY_SLOW = re.compile(r"^pytestmark = .*\bpytest\.mark\.slow\b", re.MULTILINE)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """In a fast run, do not even import modules that are slow as a whole: what they import takes longest."""
    if config.option.markexpr != "not slow" or collection_path.suffix != ".py":
        return None
    return bool(_WHOLLY_SLOW.search(collection_path.read_text("utf-8"))) or None


@pytest.fixture(scope="session")
def session_directory() -> Iterator[Path]:
    """Where the session's servers keep their data."""
    path = Path(tempfile.mkdtemp(prefix="augury-test-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def postgres(session_directory: Path) -> Iterator[EmbeddedPostgres]:
    """The session's PostgreSQL, not durable. Use `database_url` for a database in it."""
    with EmbeddedPostgres(session_directory / "postgres", durable=False) as server:
        yield server


@pytest.fixture(scope="session")
def valkey(session_directory: Path) -> Iterator[EmbeddedValkey]:
    """The session's Valkey. Use `redis_url` for an empty logical database in it."""
    with EmbeddedValkey(session_directory / "valkey", databases=VALKEY_DATABASES) as server:
        yield server


@pytest.fixture(scope="session")
def databases(postgres: EmbeddedPostgres) -> Databases:
    return Databases(postgres)


@pytest.fixture(scope="session")
def keyspaces(valkey: EmbeddedValkey) -> Keyspaces:
    return Keyspaces(valkey)


@pytest.fixture
def database_url(databases: Databases) -> Iterator[str]:
    """A migrated, empty database of this test's own: postgresql://…"""
    with databases.fresh() as url:
        yield url


@pytest.fixture
def redis_url(keyspaces: Keyspaces) -> str:
    """An empty logical database: redis://127.0.0.1:port/n. Channels are the server's, not the database's."""
    return keyspaces.fresh()


@pytest.fixture
def own_postgres(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A durable, migrated PostgreSQL of this test's own, to be stopped, killed and restarted at will."""
    with EmbeddedPostgres(tmp_path / "own-postgres") as server:
        migrate(server.url)
        yield server


@pytest.fixture
def own_valkey(tmp_path: Path) -> Iterator[EmbeddedValkey]:
    """A Valkey of this test's own, to be stopped, killed and restarted at will."""
    with EmbeddedValkey(tmp_path / "own-valkey") as server:
        yield server


@pytest.fixture(scope="session")
def s3_environment(session_directory: Path) -> Iterator[dict[str, str]]:
    """The session's S3 server, by what its clients must find in their environment."""
    with s3_server(session_directory) as environment:
        yield environment


@pytest.fixture
def bucket(s3_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """A place of this test's own in a bucket, for clients in this process: s3://…"""
    for name, value in s3_environment.items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/{uuid4().hex}"


@pytest.fixture
def make_stack(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[..., Stack]]:
    """Makes `Stack`s, not yet started, and kills them afterwards.

    Without `database_url=` or `redis_url=` they work on this test's own database and logical database.
    """
    with ExitStack() as cleanup:

        def make(**options: Any) -> Stack:
            for name in ("database_url", "redis_url"):
                if name not in options:
                    options[name] = request.getfixturevalue(name)
            stack = Stack(tmp_path / f"stack-{uuid4().hex[:8]}", **options)
            cleanup.callback(stack.kill_all)
            return stack

        yield make


@pytest.fixture
def stack(make_stack: Callable[..., Stack]) -> Stack:
    """A stack on this test's own database, not yet started: `stack.start(workers=1, lanes=1)`."""
    return make_stack()
