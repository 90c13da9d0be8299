"""Who may read /metrics, and what stands there."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from tests.api.asking import add_model, ask
from tests.api.conftest import Serve, Served
from workers.metrics import KEY

pytestmark = pytest.mark.anyio


@pytest.mark.slow
async def test_administrators_read_how_deep_the_queues_are(served: Served, redis_url: str) -> None:
    root = await served.admin()
    await add_model(served, root)
    await ask(served, root)
    async with Redis.from_url(redis_url) as client:
        await client.hset(
            KEY, '["augury_passes_total", {"model": "a/b", "pool": "echo", "reason": "full"}]', "7"
        )
    answer = await served.http.get("/metrics", headers=root)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    lines = answer.text.splitlines()
    assert 'augury_predictions_waiting{pool="echo"} 1.0' in lines
    assert 'augury_predictions_running{pool="echo"} 0.0' in lines
    assert any(line.startswith('augury_oldest_waiting_seconds{pool="echo"} ') for line in lines)
    assert 'augury_passes_total{model="a/b",pool="echo",reason="full"} 7.0' in lines


async def test_others_do_not_read_metrics(served: Served) -> None:
    assert (await served.http.get("/metrics")).status_code == 401
    ann = await served.person("ann")
    assert (await served.http.get("/metrics", headers=ann)).status_code == 403


async def test_a_setting_opens_them_to_everybody(serve: Serve) -> None:
    async with serve(metrics_public=True) as served:
        assert (await served.http.get("/metrics")).status_code == 200


async def test_without_redis_the_queues_are_told_all_the_same(serve: Serve) -> None:
    async with serve(redis="redis://127.0.0.1:1/0", metrics_public=True) as served:
        answer = await served.http.get("/metrics")
    assert answer.status_code == 200
    assert "# TYPE augury_predictions_waiting gauge" in answer.text
