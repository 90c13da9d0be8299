"""Clients that repeat requests without a key: what they have asked for already is not made twice."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import text

from tests.api.asking import Headers, add_model, scalar, until_queued
from tests.api.conftest import Served

pytestmark = pytest.mark.anyio

BODY: dict[str, Any] = {"version": "root/echo", "input": {"text": "a"}}


async def send(served: Served, headers: Headers, number: int, *, prefer: str = "", **body: Any) -> str:
    """The `number`-th repetition of a request, as Replicate's newer client for Python sends it; its id."""
    counted = headers | {"X-Stainless-Retry-Count": str(number), "Prefer": prefer}
    response = await served.http.post("/v1/predictions", json=BODY | body, headers=counted)
    assert response.status_code in (201, 202), response.text
    return str(response.json()["id"])


async def unanswered(served: Served, headers: Headers, number: int = 0, **body: Any) -> str:
    """Send one and go away before the answer; the prediction's id."""
    before = await scalar(served, "SELECT count(*) FROM predictions")
    asking = asyncio.create_task(send(served, headers, number, prefer="wait=20", **body))
    await until_queued(served, before + 1)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    return str(await scalar(served, "SELECT max(id) FROM predictions"))


async def test_a_repetition_finds_what_the_lost_answer_was_about(served: Served) -> None:
    root = await served.admin()
    await add_model(served, root)
    made = await unanswered(served, root)
    assert await send(served, root, 1) == made
    assert await scalar(served, "SELECT count(*) FROM predictions") == 1


@pytest.mark.slow
async def test_two_equal_requests_that_are_both_repeated_stay_two(served: Served) -> None:
    root = await served.admin()
    await add_model(served, root)
    made = {await unanswered(served, root), await unanswered(served, root)}
    repeated = await asyncio.gather(*[send(served, root, 1, prefer="wait=1") for _ in range(2)])
    assert set(repeated) == made


async def test_a_repetition_that_is_lost_too_is_found_by_the_next(served: Served) -> None:
    root = await served.admin()
    await add_model(served, root)
    made = await unanswered(served, root)
    again = asyncio.create_task(send(served, root, 1, prefer="wait=20"))
    async with asyncio.timeout(10):
        while not await scalar(served, "SELECT key LIKE '%:1:%' FROM idempotency_keys"):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    again.cancel()
    await asyncio.gather(again, return_exceptions=True)
    assert await send(served, root, 2) == made


async def test_what_was_answered_is_asked_for_anew(served: Served) -> None:
    root = await served.admin()
    await add_model(served, root)
    made = [await send(served, root, number) for number in (0, 0, 1)]
    assert len(set(made)) == 3
    assert await scalar(served, "SELECT count(*) FROM idempotency_keys") == 0


async def test_another_body_another_caller_and_another_time_are_another_request(served: Served) -> None:
    root, ann = await served.admin(), await served.person("ann")
    await add_model(served, root)
    made = await unanswered(served, root)
    assert await send(served, root, 1, input={"text": "b"}) != made
    assert await send(served, ann, 1) != made
    async with served.gateway.engine.connect() as connection:
        await connection.execute(
            text("UPDATE idempotency_keys SET created_at = now() - interval '3 minutes'")
        )
    assert await send(served, root, 1) != made
