"""Streams of predictions: from the beginning for everybody, on from any event, to the right end."""

from __future__ import annotations

import time

import pytest

from tests.api.asking import add_model, ask, lane_by_hand, until_queued
from tests.api.conftest import Served
from tests.api.streaming import following, listening, write

pytestmark = pytest.mark.anyio


async def test_a_client_that_is_there_first_is_told_each_chunk_as_it_comes(
    served: Served, database_url: str, redis_url: str
) -> None:
    root = await served.admin()
    await add_model(served, root)
    made = await ask(served, root, input={"text": "hello"})
    async with (
        listening(served) as http,
        lane_by_hand(database_url, redis_url) as lane,
        following(http, made) as listener,
    ):
        await until_queued(served, which="listened")
        events = listener.read()
        leases = await lane.claim()
        for chunk in ("he", "l"):
            began = time.monotonic()
            await write(redis_url, made["id"], ("output", chunk))
            assert (await anext(events)).data == chunk
            assert time.monotonic() - began < 0.3
        await write(redis_url, made["id"], ("logs", "nearly there\n"), ("output", "lo"))
        await lane.finish(leases)
        rest = [event async for event in events]
    assert [(event.name, event.data) for event in rest] == [
        ("logs", "nearly there\n"),
        ("output", "lo"),
        ("done", "{}"),
    ]
    assert listener.response.headers["Content-Type"].startswith("text/event-stream")
    assert listener.response.headers["Cache-Control"] == "no-cache"
    assert listener.comments >= 1
