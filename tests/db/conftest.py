"""A migrated database with both sides' sessions to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.db.interleaving import Sessions, sessions
from tests.servers import Databases


@pytest.fixture
def database_url(databases: Databases, request: pytest.FixtureRequest) -> Iterator[str]:
    """A migrated database without rows: postgresql://…"""
    with databases.for_test(request) as url:
        yield url


@pytest.fixture
def world(database_url: str) -> Iterator[Sessions]:
    """Gateway, lanes and steward of an empty database."""
    with sessions(database_url) as opened:
        yield opened
