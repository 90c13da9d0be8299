"""What Prometheus reads: what all lanes have counted, and how deep the queues are now."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from redis.exceptions import RedisError

from db.pools import model_type_of
from db.repositories.backlog import Depth, depths
from workers.metrics import KEY, families

if TYPE_CHECKING:
    from api.gateway import Gateway

__all__ = ["CONTENT_TYPE_LATEST", "exposition"]

log = logging.getLogger(__name__)

_GAUGES: tuple[tuple[str, str, Callable[[Depth], float]], ...] = (
    ("augury_predictions_waiting", "Predictions that wait for a lane.", lambda depth: depth.waiting),
    ("augury_predictions_running", "Predictions that a lane has claimed.", lambda depth: depth.running),
    (
        "augury_oldest_waiting_seconds",
        "For how long the oldest waiting prediction has waited.",
        lambda depth: depth.oldest_seconds,
    ),
)


async def exposition(gateway: Gateway) -> bytes:
    """The metrics in Prometheus' text format, version 0.0.4; without the lanes' while Redis is away."""
    pools = await depths(gateway.engine)
    found = [*(_gauge(*gauge, pools) for gauge in _GAUGES), *_remembered(gateway)]
    try:
        found += families(await gateway.redis.hgetall(KEY))
    except (RedisError, OSError) as error:
        log.warning("the lanes' metrics cannot be read: %s", error)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Found(found))
    return generate_latest(registry)


def _gauge(name: str, help_: str, value: Callable[[Depth], float], pools: Iterable[Depth]) -> Metric:
    gauge = GaugeMetricFamily(name, help_)
    for depth in pools:
        labels = {"pool": model_type_of(depth.pool)}
        if depth.deployment is not None:
            labels["deployment"] = depth.deployment
        gauge.add_sample(name, labels, value(depth))
    return gauge


def _remembered(gateway: Gateway) -> Iterable[Metric]:
    """What came of looking for the vectors of texts, in this gateway process alone."""
    here = "in this gateway's memory"
    yield CounterMetricFamily(
        "augury_embedding_cache_hits", f"Texts whose vector was {here}.", gateway.vectors.hits
    )
    yield CounterMetricFamily(
        "augury_embedding_cache_misses", f"Texts whose vector was not {here}.", gateway.vectors.misses
    )


class _Found:
    """Metrics that are there already, as the library wants to be given them."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics
