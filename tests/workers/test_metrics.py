"""What lanes measure reaches /metrics, summed over lanes, and survives those that come and go."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import CollectorRegistry

from cli.embedded import free_port
from tests.workers.workshop import POOL, Workshop
from workers.metrics import KEY, Metrics, families

Open = Callable[..., Workshop]


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as opened:
        yield opened


def told(client: redis.Redis) -> Callable[..., float]:
    """What the shared counters say: a lookup by a sample's name and labels."""
    fields: dict[Any, Any] = client.hgetall(KEY)
    samples = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families(fields)
        for sample in family.samples
    }

    def look(name: str, **labels: str) -> float:
        return samples.get((name, tuple(sorted({"pool": POOL, "model": "test/v", **labels}.items()))), 0.0)

    return look


def test_batches_are_counted_with_their_size_fill_padding_and_reason(
    open_workshop: Open, client: redis.Redis
) -> None:
    workshop = open_workshop(v={"max_batch": 4})
    workshop.submit(*"abcdefghij")
    workshop.submit("unlike", poison=True)
    workshop.serve()
    workshop.metrics.flush(at=math.inf)
    look = told(client)
    assert look("augury_passes_total", reason="full") == 2
    assert look("augury_passes_total", reason="idle") == 1
    assert look("augury_pass_rows_sum") == 11
    assert look("augury_pass_rows_bucket", le="4.0") == look("augury_pass_rows_count") == 3
    assert look("augury_pass_fill_sum") == 2.75
    assert look("augury_pass_size_total") == look("augury_pass_padded_size_total") == 11
    assert look("augury_predictions_ended_total", status="succeeded") == 10
    assert look("augury_predictions_ended_total", status="failed") == 1
    assert look("augury_prediction_waiting_seconds_count") == 11
    assert look("augury_prediction_running_seconds_count") == 11


@pytest.mark.slow
def test_a_batch_that_has_lingered_says_so(open_workshop: Open, client: redis.Redis) -> None:
    workshop = open_workshop(v={"max_batch": 4, "max_wait_ms": 200})
    workshop.submit("first")
    workshop.serve()
    workshop.submit("second")
    workshop.serve()
    workshop.metrics.flush(at=math.inf)
    look = told(client)
    assert look("augury_passes_total", reason="idle") == 1
    assert look("augury_passes_total", reason="linger") == 1


def test_lanes_add_up_and_a_lane_that_ends_takes_nothing_away(
    open_workshop: Open, client: redis.Redis
) -> None:
    for texts in ("ab", "cde"):
        workshop = open_workshop()
        workshop.submit(*texts)
        workshop.serve()
        workshop.metrics.flush(at=math.inf)
    assert told(client)("augury_predictions_ended_total", status="succeeded") == 5


def test_what_is_counted_while_redis_is_away_is_told_later(open_workshop: Open, client: redis.Redis) -> None:
    workshop = open_workshop()
    workshop.submit("a")
    workshop.serve()
    reachable, workshop.metrics._client = (
        workshop.metrics._client,
        redis.Redis.from_url(f"redis://127.0.0.1:{free_port()}/0"),
    )
    workshop.metrics.flush(at=10.0)
    workshop.metrics._client = reachable
    workshop.metrics.flush(at=10.5)
    assert client.hgetall(KEY) == {}
    workshop.metrics.flush(at=11.5)
    assert told(client)("augury_predictions_ended_total", status="succeeded") == 1
    workshop.metrics.flush(at=13.0)
    assert told(client)("augury_predictions_ended_total", status="succeeded") == 1


def test_a_lane_that_has_done_nothing_writes_nothing(client: redis.Redis) -> None:
    metrics = Metrics(client)
    metrics.flush(at=0.0)
    assert client.exists(KEY) == 0


def test_the_families_are_what_prometheus_reads(open_workshop: Open, client: redis.Redis) -> None:
    workshop = open_workshop()
    workshop.submit("a")
    workshop.serve()
    workshop.metrics.flush(at=math.inf)

    class Found:
        def collect(self) -> Any:
            return families(client.hgetall(KEY))

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Found())
    parsed = {
        family.name: family for family in text_string_to_metric_families(generate_latest(registry).decode())
    }
    assert parsed["augury_passes"].type == "counter"
    rows = parsed["augury_pass_rows"]
    assert rows.type == "histogram"
    bounds = [sample.labels["le"] for sample in rows.samples if sample.name.endswith("_bucket")]
    assert [float(bound) for bound in bounds] == sorted(float(bound) for bound in bounds)
    assert bounds[-1] == "+Inf"
