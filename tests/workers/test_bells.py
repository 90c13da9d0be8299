"""Bells ring or they do not; whoever rings them is never disturbed."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import UTC, datetime

import pytest
import redis
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from cli.embedded import free_port
from cli.valkey import EmbeddedValkey
from db.endings import Ended
from db.ids import new_id
from db.states import Status
from tests.api.asking import until
from tests.workers.door import by_the_door, heard_by
from workers.announcing import Announcer
from workers.bells import AHEAD_SECONDS, Bells, GatewayBells
from workers.messages import IDLE, MAX_BELLS, Ring, decode_news


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def nobody() -> str:
    return f"redis://127.0.0.1:{free_port()}/0"


def ended(waiter: str | None) -> Ended:
    now = datetime.now(UTC)
    return Ended(new_id(), Status.SUCCEEDED, None, None, None, 1, now, now, waiter, None)


def gateway_client(url: str) -> redis.asyncio.Redis:
    """A client as the gateway has it."""
    return redis.asyncio.Redis.from_url(
        url, socket_timeout=0.25, socket_connect_timeout=0.25, retry=Retry(NoBackoff(), 0)
    )


def test_a_lanes_bells_ring_in_each_pool_up_to_the_bound(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        bells = Bells(client)
        for _ in range(MAX_BELLS + 3):
            assert bells.ring(["echo", "text-generation"])
        assert client.llen("echo") == client.llen("text-generation") == MAX_BELLS


def test_a_lane_without_redis_is_told_so_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    with redis.Redis.from_url(nobody(), socket_connect_timeout=0.5) as client:
        bells = Bells(client)
        assert not bells.ring(["echo"])
        assert "the bell could not be rung" in caplog.text
        Announcer(client, bells).ended([ended("channel")])
        assert "news could not be published" in caplog.text


@pytest.mark.anyio
async def test_a_gateways_bells_ring_once_a_round_for_each_pool(redis_url: str) -> None:
    async with gateway_client(redis_url) as client:
        bells = GatewayBells(client)
        for _ in range(100):
            bells.ring({"echo", "text-generation"})
        await bells.close()
        assert await client.llen("echo") == 1
        bells.ring(["echo"])
        await asyncio.sleep(0)
        # This comes while a round is under way, so it has one of its own.
        bells.ring(["echo"])
        await bells.close()
        assert await client.llen("echo") == 3
        bells.ring([])
        await bells.close()
        assert await client.llen("echo") == 3


@pytest.mark.anyio
async def test_a_lane_that_was_woken_ahead_is_not_rung_for_again(redis_url: str) -> None:
    with by_the_door(redis_url) as hearing:
        async with gateway_client(redis_url) as client:
            bells = GatewayBells(client)
            bells.confirm(bells.ring_ahead("echo", "an-id"))
            await bells.close()
            assert heard_by(hearing) == Ring("echo", "an-id")
            assert await client.llen("echo") == await client.llen(IDLE) == 0


@pytest.mark.anyio
async def test_where_no_lane_was_woken_ahead_the_bell_rings_after_the_commit(redis_url: str) -> None:
    async with gateway_client(redis_url) as client:
        bells = GatewayBells(client)
        ahead = bells.ring_ahead("echo", "an-id")
        await ahead.woken
        assert await client.llen("echo") == 0
        bells.confirm(ahead)
        await asyncio.sleep(0)
        await bells.close()
        assert await client.llen("echo") == 1


@pytest.mark.anyio
async def test_a_commit_that_takes_longer_than_a_lane_looks_rings_again(redis_url: str) -> None:
    with by_the_door(redis_url):
        async with gateway_client(redis_url) as client:
            bells = GatewayBells(client)
            ahead = bells.ring_ahead("echo", "an-id")
            await asyncio.sleep(2 * AHEAD_SECONDS)
            bells.confirm(ahead)
            await bells.close()
            assert await client.llen("echo") == 1


@pytest.mark.slow
@pytest.mark.anyio
async def test_a_gateway_without_redis_says_it_once_and_rings_again_when_it_is_back(
    own_valkey: EmbeddedValkey, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "workers.bells")
    await asyncio.to_thread(own_valkey.stop)
    async with gateway_client(own_valkey.url) as client:
        bells = GatewayBells(client)
        for _ in range(3):
            began = time.monotonic()
            bells.ring(["echo"])
            assert time.monotonic() - began < 0.05
            await bells.close()
        assert caplog.text.count("Redis is away, so bells are left to the steward") == 1
        await asyncio.to_thread(own_valkey.start)
        bells.ring(["echo"])
        await bells.close()
        assert await client.llen("echo") == 1
        assert "bells ring again" in caplog.text


@pytest.mark.anyio
async def test_news_reach_the_channel_of_each_waiter_in_one_message(redis_url: str) -> None:
    one, two = f"one-{new_id()}", f"two-{new_id()}"
    batch = [ended(one), ended(None), ended(two), ended(one)]
    heard: dict[str, list[str]] = {}
    async with redis.asyncio.Redis.from_url(redis_url) as client, client.pubsub() as pubsub:
        await pubsub.subscribe(one, two)

        async def listen() -> None:
            async for message in pubsub.listen():
                if message["type"] == "message":
                    channel = message["channel"].decode()
                    assert channel not in heard
                    heard[channel] = [news.id for news in decode_news(message["data"])]

        listening = asyncio.create_task(listen())
        with redis.Redis.from_url(redis_url) as sync_client:
            announcer = Announcer(sync_client, Bells(sync_client))
            await asyncio.to_thread(announcer.ended, batch)
        await until(lambda: len(heard) == 2)
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
    assert heard == {one: [batch[0].id, batch[3].id], two: [batch[2].id]}
