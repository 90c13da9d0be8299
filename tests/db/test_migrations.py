"""Migrations: from an empty database to the tables as the classes describe them, and back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from alembic import command
from alembic.config import Config

import migrations
from cli.migrate import migrate
from cli.postgres import EmbeddedPostgres

OBJECTS = """
SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'S', 'v')
UNION ALL SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace
UNION ALL SELECT typname FROM pg_type WHERE typnamespace = 'public'::regnamespace AND typtype IN ('e', 'd')
ORDER BY 1
"""


@pytest.fixture
def empty_database_url(postgres: EmbeddedPostgres) -> Iterator[str]:
    name = f"empty_{uuid4().hex[:8]}"
    with psycopg.connect(postgres.database_url("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield postgres.database_url(name)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def alembic(empty_database_url: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    config.set_main_option("sqlalchemy.url", empty_database_url.replace("%", "%%"))
    return config


def objects(database_url: str) -> list[str]:
    with psycopg.connect(database_url) as connection:
        return [row[0] for row in connection.execute(OBJECTS)]


@pytest.mark.slow
def test_the_tables_of_an_empty_database_become_what_the_classes_say(
    alembic: Config, empty_database_url: str
) -> None:
    migrate(empty_database_url)
    command.check(alembic)


@pytest.mark.slow
def test_a_downgrade_leaves_nothing_behind_and_the_way_up_is_open_again(
    alembic: Config, empty_database_url: str
) -> None:
    command.upgrade(alembic, "head")
    migrated = objects(empty_database_url)
    command.downgrade(alembic, "base")
    assert objects(empty_database_url) == ["alembic_version"]
    command.upgrade(alembic, "head")
    assert objects(empty_database_url) == migrated


@pytest.mark.slow
def test_migrating_twice_changes_nothing(empty_database_url: str) -> None:
    migrate(empty_database_url)
    once = objects(empty_database_url)
    migrate(empty_database_url)
    assert objects(empty_database_url) == once
