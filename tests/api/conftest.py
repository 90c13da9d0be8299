"""A gateway in this process, on a real database and a real Valkey, and people who call it."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.app import create_app
from api.credentials import ApiToken
from api.gateway import Gateway
from api.settings import GatewaySettings
from db.ids import new_id
from db.repositories import tokens, users
from db.repositories.transactions import write
from db.settings import BlobSettings, DatabaseSettings
from tests.servers import Databases
from workers.broker import BrokerSettings

BASE_URL = "http://augury.example"
SECRET_KEY = secrets.token_urlsafe(48)


@dataclass
class Served:
    """A gateway at work: `http` calls it without credentials."""

    app: Any
    http: httpx.AsyncClient

    @property
    def gateway(self) -> Gateway:
        return self.app.state.gateway

    async def person(self, username: str, *, role: str = "user") -> dict[str, str]:
        """Make an account that has no password, and return headers with a token of it."""
        user_id, token = new_id(), ApiToken.new()
        async with write(self.gateway.engine) as session:
            new = users.NewUser(user_id, username, f"{username}@example.com", "!", role=role)
            assert await users.add(session, new)
            await tokens.add(session, tokens.NewToken(new_id(), user_id, "test", token.hint, token.digest))
        return {"Authorization": f"Bearer {token.text}"}

    async def admin(self) -> dict[str, str]:
        return await self.person("root", role="admin")


Serve = Callable[..., AbstractAsyncContextManager[Served]]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def database_url(databases: Databases, request: pytest.FixtureRequest) -> Iterator[str]:
    """A migrated database without rows: postgresql://…"""
    with databases.for_test(request) as url:
        yield url


def settings(**overrides: Any) -> GatewaySettings:
    defaults: dict[str, Any] = {"secret_key": SECRET_KEY, "registration": "open", "_env_file": None}
    return GatewaySettings(**{**defaults, **overrides})


@pytest.fixture
def serve(database_url: str, redis_url: str, tmp_path: Path) -> Serve:
    """Start a gateway with these settings; two of them share their servers, as in production."""

    @asynccontextmanager
    async def start(
        *,
        database: str = database_url,
        redis: str = redis_url,
        blob_store: str = str(tmp_path / "blobs"),
        client: str = "203.0.113.7",
        **overrides: Any,
    ) -> AsyncIterator[Served]:
        app = create_app(
            settings(**overrides),
            DatabaseSettings(database_url=database, _env_file=None),
            BrokerSettings(redis_url=redis, _env_file=None),
            BlobSettings(blob_store=blob_store, _env_file=None),
        )
        transport = httpx.ASGITransport(app, client=(client, 4711), raise_app_exceptions=False)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url=BASE_URL) as http,
        ):
            yield Served(app, http)

    return start


@pytest.fixture
async def served(serve: Serve) -> AsyncIterator[Served]:
    async with serve() as running:
        yield running
