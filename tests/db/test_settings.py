"""Where the database is dialled: by name, by IPv4 address, or where an operator says."""

from __future__ import annotations

import psycopg
import pytest
from pydantic import ValidationError
from sqlalchemy import make_url, text

from db.session import async_engine, sync_engine
from db.settings import DatabaseSettings


def by_name(database_url: str, host: str) -> str:
    return make_url(database_url).set(host=host).render_as_string(hide_password=False)


def test_a_host_name_is_dialled_by_its_ipv4_address(database_url: str) -> None:
    settings = DatabaseSettings(database_url=by_name(database_url, "localhost"))
    assert settings.hostaddr() == "127.0.0.1"
    with psycopg.connect(settings.conninfo()) as connection:
        assert connection.info.host == "localhost"
        assert connection.info.hostaddr == "127.0.0.1"


def test_an_operator_may_leave_the_choice_to_the_resolver(database_url: str) -> None:
    url = by_name(database_url, "localhost")
    assert DatabaseSettings(database_url=url, database_force_ipv4=False).hostaddr() is None


def test_addresses_and_sockets_need_no_name_server() -> None:
    for url in ("postgresql://10.1.2.3/x", "postgresql://[::1]/x", "postgresql:///x?host=/run/postgresql"):
        assert DatabaseSettings(database_url=url).hostaddr() is None


def test_a_name_that_cannot_be_resolved_is_left_for_the_connection_to_complain_of() -> None:
    settings = DatabaseSettings(database_url="postgresql://no-such-host.invalid/x")
    assert settings.hostaddr() is None
    with pytest.raises(psycopg.OperationalError, match=r"no-such-host\.invalid"):
        psycopg.connect(settings.conninfo())


async def _asked_by_async(settings: DatabaseSettings) -> object:
    engine = async_engine(settings)
    async with engine.connect() as connection:
        answer = await connection.scalar(text("SELECT 1"))
    await engine.dispose()
    return answer


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_an_address_that_is_given_wins_over_the_name(database_url: str) -> None:
    settings = DatabaseSettings(
        database_url=by_name(database_url, "database.invalid"), database_hostaddr="127.0.0.1"
    )
    engine = sync_engine(settings)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT 1")) == 1
    engine.dispose()
    assert await _asked_by_async(settings) == 1


def test_only_postgresql_will_do() -> None:
    with pytest.raises(ValidationError, match="must be a PostgreSQL URL"):
        DatabaseSettings(database_url="mysql://localhost/x")
