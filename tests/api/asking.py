"""Predictions asked for over HTTP, and a lane that does them by hand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import redis
from sqlalchemy import text

from db import lanes
from db.leases import Lease, Leases, Outcome
from db.session import sync_engine
from db.settings import DatabaseSettings
from db.states import Status
from tests.api.conftest import Served
from tests.stack import wait_until
from workers.announcing import Announcer
from workers.bells import Bells

T = TypeVar("T")
Headers = dict[str, str]
PLACE = ("queue_position", "estimated_start")
ECHO: dict[str, Any] = {"name": "echo", "model_type": "echo", "model_path": "-", "version": "1"}


def settled(document: dict[str, Any]) -> dict[str, Any]:
    """A prediction without its place in the queue, which changes while it waits."""
    return {name: value for name, value in document.items() if name not in PLACE}


async def add_model(served: Served, headers: Headers, **changes: Any) -> dict[str, Any]:
    """Register a model, an echo unless said otherwise, and return it as the API shows it."""
    response = await served.http.post("/v1/models", json=ECHO | changes, headers=headers)
    assert response.status_code == 201, response.text
    return response.json()


async def ask(
    served: Served,
    headers: Headers,
    *,
    status: int = 201,
    prefer: str | None = None,
    key: str | None = None,
    **body: Any,
) -> dict[str, Any]:
    """Create a prediction, of the model `root/echo` unless said otherwise; the answer's body."""
    if not {"model", "model_id", "version"} & body.keys():
        body["model"] = "root/echo"
    extra = {"Prefer": prefer, "Idempotency-Key": key}
    sent = headers | {name: value for name, value in extra.items() if value is not None}
    response = await served.http.post(
        "/v1/predictions", json={"input": {"text": "hello"}} | body, headers=sent
    )
    assert response.status_code == status, response.text
    return settled(response.json())


async def look(served: Served, headers: Headers, prediction_id: str) -> dict[str, Any]:
    """A prediction as it is now."""
    response = await served.http.get(f"/v1/predictions/{prediction_id}", headers=headers)
    assert response.status_code == 200, response.text
    return settled(response.json())


async def cancel(served: Served, headers: Headers, prediction_id: str) -> dict[str, Any]:
    """Cancel a prediction; the answer's body."""
    response = await served.http.post(f"/v1/predictions/{prediction_id}/cancel", headers=headers)
    assert response.status_code == 200, response.text
    return response.json()


async def scalar(served: Served, query: str) -> Any:
    """One value out of the gateway's database."""
    async with served.gateway.engine.connect() as connection:
        return await connection.scalar(text(query))


async def until_queued(served: Served, count: int = 1, *, which: str = "true") -> None:
    """Return when so many predictions are in the queue, waiting or leased."""
    async with asyncio.timeout(10):
        while await scalar(served, f"SELECT count(*) FROM queue WHERE {which}") != count:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def until(condition: Callable[[], bool], *, seconds: float = 10.0) -> None:
    """Let the event loop go on until it holds; fail the test when it does not in time."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - any condition, not an event
            await asyncio.sleep(0.005)


class LaneByHand:
    """A lane that claims and finishes when a test says so."""

    def __init__(self, database_url: str, redis_url: str, pool: str = "echo") -> None:
        self._pool = pool
        self._engine = sync_engine(DatabaseSettings(database_url=database_url))
        self._client = redis.Redis.from_url(redis_url)
        self._announcer = Announcer(self._client, Bells(self._client))
        self._leases = Leases(self._engine, "by-hand")
        lanes.register(self._engine, lanes.LaneInfo("by-hand", "worker", 0, "here", 1, [pool]))

    async def claim(self) -> list[Lease]:
        """Lease all that waits of the version whose turn it is."""

        def claim() -> list[Lease]:
            (version, *_) = self._leases.waiting(self._pool)
            claimed = self._leases.claim(self._pool, version.version_id, limit=1000, budget=1000)
            return list(claimed.leases)

        return await asyncio.to_thread(claim)

    async def finish(self, leases: Sequence[Lease], *, tell: bool = True) -> None:
        """Let them succeed with their texts, and tell the gateways, unless the news is to be lost."""
        outcomes = [
            Outcome(lease, Status.SUCCEEDED, output=json.dumps(lease.input["text"])) for lease in leases
        ]
        await self._end(outcomes, tell=tell)

    async def end(self, lease: Lease, status: Status = Status.SUCCEEDED, **outcome: Any) -> None:
        """Let one end like this, its output JSON text, and tell the gateways."""
        await self._end([Outcome(lease, status, **outcome)], tell=True)

    async def _end(self, outcomes: Sequence[Outcome], *, tell: bool) -> None:
        ended = await asyncio.to_thread(self._leases.finish, outcomes)
        if tell:
            await asyncio.to_thread(self._announcer.ended, ended)

    async def give_back(self, leases: Sequence[Lease]) -> None:
        """Let them wait again, for another attempt."""
        await asyncio.to_thread(self._leases.give_back, leases)

    async def serve_when_asked(self) -> list[Lease]:
        """Wait until something waits, and do it."""
        leases = await self.claim_when_asked()
        await self.finish(leases)
        return leases

    async def claim_when_asked(self, count: int = 1) -> list[Lease]:
        """Wait until so many predictions wait, and lease them."""
        leases: list[Lease] = []
        while len(leases) < count:
            await asyncio.to_thread(wait_until, lambda: bool(self._leases.waiting(self._pool)))
            leases += await self.claim()
        return leases

    def close(self) -> None:
        self._engine.dispose()
        self._client.close()


@asynccontextmanager
async def lane_by_hand(database_url: str, redis_url: str, pool: str = "echo") -> AsyncIterator[LaneByHand]:
    """A registered lane, closed afterwards."""
    lane = await asyncio.to_thread(LaneByHand, database_url, redis_url, pool)
    try:
        yield lane
    finally:
        lane.close()
