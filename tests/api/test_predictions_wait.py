"""`Prefer: wait`: the answer is held until the prediction has ended, by whatever way the news comes."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import psutil
import pytest
from sqlalchemy import text

from cli.valkey import EmbeddedValkey
from tests.api.asking import add_model, ask, cancel, lane_by_hand, look, scalar, until_queued
from tests.api.conftest import BASE_URL, Serve, Served

pytestmark = pytest.mark.anyio


async def test_a_prediction_that_ends_in_time_is_answered_with_its_output(
    served: Served, database_url: str, redis_url: str
) -> None:
    root = await served.admin()
    await add_model(served, root)
    async with lane_by_hand(database_url, redis_url) as lane:
        asking = asyncio.create_task(ask(served, root, status=201, prefer="wait=20"))
        await lane.serve_when_asked()
        began = time.monotonic()
        done = await asking
        # By news, not by a look at the row.
        assert time.monotonic() - began < 0.5
    assert (done["status"], done["output"]) == ("succeeded", "hello")
    assert done["attempts"] == 1
    assert done["metrics"].keys() == {"total_time", "predict_time"}
    assert await look(served, root, done["id"]) == done


async def test_what_a_model_has_measured_is_told_beside_the_times(
    served: Served, database_url: str, redis_url: str
) -> None:
    root = await served.admin()
    await add_model(served, root)
    measured = {"input_token_count": 3, "output_token_count": 5, "finish_reason": "length"}
    async with lane_by_hand(database_url, redis_url) as lane:
        asking = asyncio.create_task(ask(served, root, status=201, prefer="wait=20"))
        await until_queued(served)
        (lease,) = await lane.claim()
        await lane.end(lease, output='"hello"', metrics=measured)
        done = await asking
    assert measured.items() < done["metrics"].items()
    assert done["metrics"].keys() - measured.keys() == {"total_time", "predict_time"}
    assert await look(served, root, done["id"]) == done


@pytest.mark.slow
async def test_a_prediction_that_takes_longer_is_answered_as_starting(
    served: Served, database_url: str, redis_url: str
) -> None:
    root = await served.admin()
    await add_model(served, root)
    body: dict[str, Any] = {"model": "root/echo", "input": {"text": "a"}}
    async with lane_by_hand(database_url, redis_url) as lane:
        asking = asyncio.create_task(
            served.http.post("/v1/predictions", json=body, headers=root | {"Prefer": "wait=1"})
        )
        await until_queued(served)
        await lane.claim()
        response = await asking
    assert response.status_code == 202
    made = response.json()
    # It is processing, but clients of Replicate take any other word than starting for the end.
    assert (made["status"], made["output"], made["started_at"]) == ("starting", None, None)
    assert response.headers["Location"] == f"{BASE_URL}/v1/predictions/{made['id']}"
    assert response.headers["Preference-Applied"] == "wait=1"
    assert (await look(served, root, made["id"]))["status"] == "processing"


@pytest.mark.slow
async def test_a_prediction_that_a_crash_has_swallowed_is_not_promised(served: Served) -> None:
    """Who waits is answered only when it is durable, so a crash of the database may lose it before."""
    root = await served.admin()
    await add_model(served, root)
    asking = asyncio.create_task(ask(served, root, status=503, prefer="wait=20"))
    await until_queued(served)
    async with served.gateway.engine.connect() as connection:
        for table in ("queue", "predictions"):
            await connection.execute(text(f"DELETE FROM {table}"))
    refused = await asking
    assert "lost the prediction" in refused["detail"]


@pytest.mark.slow
async def test_nobody_waits_longer_than_the_server_lets_them(serve: Serve) -> None:
    async with serve(wait_seconds_max=0.2) as served:
        root = await served.admin()
        await add_model(served, root)
        for prefer in ("wait", "wait=30"):
            began = time.monotonic()
            made = await ask(served, root, status=202, prefer=prefer)
            assert 0.2 <= time.monotonic() - began < 2
            assert made["status"] == "starting"


async def test_without_a_preference_or_with_none_left_nobody_waits(served: Served) -> None:
    root = await served.admin()
    await add_model(served, root)
    for prefer in (None, "respond-async", "wait=0"):
        assert (await ask(served, root, status=201, prefer=prefer))["status"] == "starting"


@pytest.mark.slow
async def test_who_waits_at_one_gateway_hears_of_a_cancellation_at_another(serve: Serve) -> None:
    async with serve() as one, serve() as two:
        root = await one.admin()
        await add_model(one, root)
        asking = asyncio.create_task(ask(one, root, status=201, prefer="wait=20"))
        await until_queued(one)
        (waiting,) = (await two.http.get("/v1/predictions", headers=root)).json()["results"]
        began = time.monotonic()
        canceled = await cancel(two, root, waiting["id"])
        heard = await asking
        assert time.monotonic() - began < 0.5
    assert heard == canceled
    assert heard["status"] == "canceled"


@pytest.mark.slow
async def test_lost_news_cost_a_moment_and_no_more(served: Served, database_url: str, redis_url: str) -> None:
    root = await served.admin()
    await add_model(served, root)
    async with lane_by_hand(database_url, redis_url) as lane:
        asking = asyncio.create_task(ask(served, root, prefer="wait=20"))
        await until_queued(served)
        began = time.monotonic()
        await lane.finish(await lane.claim(), tell=False)
        assert (await asking)["status"] == "succeeded"
        assert time.monotonic() - began < 3


@pytest.mark.slow
async def test_while_redis_is_away_those_who_wait_are_answered_by_their_rows(
    serve: Serve, database_url: str, redis_url: str, own_valkey: EmbeddedValkey
) -> None:
    async with serve(redis=own_valkey.url) as served, lane_by_hand(database_url, redis_url) as lane:
        root = await served.admin()
        await add_model(served, root)
        asking = asyncio.create_task(ask(served, root, prefer="wait=20"))
        await until_queued(served)
        await asyncio.to_thread(own_valkey.stop)
        await lane.finish(await lane.claim())
        assert (await asking)["status"] == "succeeded"
        # One that is asked for meanwhile is accepted and answered as well.
        asking = asyncio.create_task(ask(served, root, prefer="wait=20"))
        await lane.serve_when_asked()
        assert (await asking)["status"] == "succeeded"
        # And when Redis is back news travel again.
        await asyncio.to_thread(own_valkey.start)


@pytest.mark.slow
async def test_a_cancellation_does_not_wait_for_a_redis_that_hangs(
    serve: Serve, own_valkey: EmbeddedValkey
) -> None:
    async with serve(redis=own_valkey.url) as served:
        root = await served.admin()
        await add_model(served, root)
        asking = asyncio.create_task(ask(served, root, prefer="wait=20"))
        await until_queued(served)
        made = await scalar(served, "SELECT id FROM queue")
        assert own_valkey.pid is not None
        server = psutil.Process(own_valkey.pid)
        server.suspend()
        try:
            began = time.monotonic()
            assert (await cancel(served, root, made))["status"] == "canceled"
            assert (await asking)["status"] == "canceled"
            assert time.monotonic() - began < 3
        finally:
            server.resume()


async def test_a_client_that_goes_away_disturbs_neither_its_prediction_nor_others(
    served: Served, database_url: str, redis_url: str
) -> None:
    root = await served.admin()
    await add_model(served, root)
    async with lane_by_hand(database_url, redis_url) as lane:
        gone, stays = (asyncio.create_task(ask(served, root, prefer="wait=20")) for _ in range(2))
        await until_queued(served, 2)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        await lane.finish(await lane.claim())
        assert (await stays)["status"] == "succeeded"
    listed = (await served.http.get("/v1/predictions", headers=root)).json()["results"]
    assert [one["status"] for one in listed] == ["succeeded"] * 2
