"""OpenAI's own client at a gateway that listens, and a lane that answers by hand."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI

from db.leases import Lease
from db.states import Status
from tests.api.asking import LaneByHand, add_model, lane_by_hand
from tests.api.conftest import Serve, Served
from tests.api.streaming import listening

MODEL = "root/model"


@dataclass
class Scene:
    """A model of some type, OpenAI's client for it, and the lane that runs it."""

    served: Served
    http: httpx.AsyncClient
    client: AsyncOpenAI
    lane: LaneByHand
    redis_url: str
    root: dict[str, str]

    async def asked(self, count: int = 1) -> list[Lease]:
        """The predictions that have come, in the order in which they were accepted."""
        return sorted(await self.lane.claim_when_asked(count), key=lambda lease: lease.id)

    async def answer(self, lease: Lease, output: Any, **metrics: float | str) -> None:
        """Let a prediction succeed with this output."""
        await self.lane.end(lease, output=json.dumps(output), metrics=metrics)

    async def fail(self, lease: Lease, failure: str, error: str) -> None:
        """Let a prediction fail."""
        await self.lane.end(lease, Status.FAILED, failure=failure, error=error)

    async def add(self, name: str, model_type: str, **changes: Any) -> None:
        """Register another model, which no lane runs."""
        await add_model(self.served, self.root, name=name, model_type=model_type, **changes)

    async def post(self, path: str, **body: Any) -> httpx.Response:
        """A request by no client in particular."""
        return await self.http.post(path, json={"model": MODEL} | body, headers=self.root)


def likelihood(token: str, logprob: float, offset: int, *top: tuple[str, float]) -> dict[str, Any]:
    """A token as an output has it that tells of them."""
    likeliest = [{"token": text, "logprob": odds, "bytes": list(text.encode())} for text, odds in top]
    named = {"token": token, "logprob": logprob, "bytes": list(token.encode())}
    return {**named, "offset": offset, "top_logprobs": likeliest}


Stage = Callable[..., AbstractAsyncContextManager[Scene]]


@pytest.fixture
def stage(serve: Serve, database_url: str, redis_url: str) -> Stage:
    """Set the scene for a model of this type and options, with these settings of the gateway."""

    @asynccontextmanager
    async def set_up(
        model_type: str, *, options: dict[str, Any] | None = None, **settings: Any
    ) -> AsyncIterator[Scene]:
        async with serve(**settings) as served, listening(served) as http:
            root = await served.admin()
            await add_model(served, root, name="model", model_type=model_type, options=options or {})
            token = root["Authorization"].removeprefix("Bearer ")
            base_url = f"{http.base_url}/v1"
            async with (
                AsyncOpenAI(base_url=base_url, api_key=token, timeout=20, max_retries=0) as client,
                lane_by_hand(database_url, redis_url, model_type) as lane,
            ):
                yield Scene(served, http, client, lane, redis_url, root)

    return set_up


@pytest.fixture
async def chat(stage: Stage) -> AsyncIterator[Scene]:
    """A model that writes texts."""
    async with stage("text-generation") as scene:
        yield scene
