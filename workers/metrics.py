"""What lanes measure, counted in Redis for all of them, so that one page of any gateway shows the whole.

Lanes come and go, so none of them is scraped: each adds what is new to shared counters once a second. A
Redis that starts empty is a counter reset, which Prometheus knows how to read.
"""

from __future__ import annotations

import json
import logging
import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import redis
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import Metric

from db.ids import time_of
from db.leases import Lease, Outcome
from model_types.base import VersionSpec
from model_types.batching import Pass

logger = logging.getLogger(__name__)

KEY = "augury:metrics"
FLUSH_SECONDS = 1.0
_LABELS = ("pool", "model")
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128)
_SHARES = (0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
_SECONDS = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)

COUNTERS = {
    "augury_passes": "Runs through a model, by what kept others out of them.",
    "augury_pass_size": "Work in passes without padding, in the model type's unit.",
    "augury_pass_padded_size": "Work in passes with padding: what the device has computed.",
    "augury_predictions_ended": "Predictions that have left a lane, by how they ended.",
}
HISTOGRAMS = {
    "augury_pass_rows": "Predictions that share a pass: the batch size.",
    "augury_pass_fill": "Rows of a pass as a share of those it may have.",
    "augury_prediction_waiting_seconds": "From acceptance until a lane claims it.",
    "augury_prediction_running_seconds": "From the claim until it leaves the lane.",
}


class Metrics:
    """One lane's observer. Its methods are called from several threads; nothing here ever raises."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._registry = CollectorRegistry()

        def counter(name: str, *labels: str) -> Counter:
            return Counter(name, COUNTERS[name], [*_LABELS, *labels], registry=self._registry)

        def histogram(name: str, buckets: Sequence[float]) -> Histogram:
            return Histogram(name, HISTOGRAMS[name], _LABELS, registry=self._registry, buckets=buckets)

        self._passes = counter("augury_passes", "reason")
        self._size = counter("augury_pass_size")
        self._padded = counter("augury_pass_padded_size")
        self._ended = counter("augury_predictions_ended", "status")
        self._rows = histogram("augury_pass_rows", _ROWS)
        self._fill = histogram("augury_pass_fill", _SHARES)
        self._waiting = histogram("augury_prediction_waiting_seconds", _SECONDS)
        self._running = histogram("augury_prediction_running_seconds", _SECONDS)
        self._told: dict[str, float] = {}
        self._flushed_at = -FLUSH_SECONDS
        self._has_news = threading.Event()

    def began(self, spec: VersionSpec, leases: Iterable[Lease]) -> None:
        """These have joined a session."""
        waiting = self._waiting.labels(spec.model_type, spec.model)
        for lease in leases:
            waiting.observe(max(0.0, (lease.claimed_at - time_of(lease.id)).total_seconds()))
        self._has_news.set()

    def stepped(self, spec: VersionSpec, passes: Iterable[Pass], outcomes: Sequence[Outcome]) -> None:
        """A session has moved on by these passes, and these have left it."""
        labels = (spec.model_type, spec.model)
        for one in passes:
            self._passes.labels(*labels, one.bound).inc()
            self._rows.labels(*labels).observe(one.rows)
            self._fill.labels(*labels).observe(one.rows / one.limit)
            self._size.labels(*labels).inc(one.size)
            self._padded.labels(*labels).inc(one.padded)
        now = datetime.now(UTC)
        for outcome in outcomes:
            seconds = (now - outcome.lease.claimed_at).total_seconds()
            self._running.labels(*labels).observe(max(0.0, seconds))
            self._ended.labels(*labels, str(outcome.status)).inc()
        self._has_news.set()

    def ended(self, outcomes: Sequence[Outcome]) -> None:
        """Counted when they left the session."""

    def flush(self, *, at: float) -> None:
        """Add what is new to the shared counters, at most once a second; `at` is monotonic.

        What Redis does not take is told with the next flush.
        """
        if at - self._flushed_at < FLUSH_SECONDS or not self._has_news.is_set():
            return
        self._flushed_at = at
        self._has_news.clear()
        values = {
            _field(sample.name, sample.labels): sample.value
            for metric in self._registry.collect()
            for sample in metric.samples
            if not sample.name.endswith("_created")
        }
        new = {field: value - self._told.get(field, 0.0) for field, value in values.items()}
        try:
            with self._client.pipeline(transaction=True) as pipeline:
                for field, value in new.items():
                    if value:
                        pipeline.hincrbyfloat(KEY, field, value)
                pipeline.execute()
        except redis.RedisError as error:
            self._has_news.set()
            logger.warning("metrics are kept until Redis is back: %s", error)
        else:
            self._told = values


def families(fields: Mapping[bytes | str, bytes | str]) -> list[Metric]:
    """The shared counters, the fields of `KEY`, as Prometheus' metrics."""
    samples: dict[str, list[tuple[str, dict[str, str], float]]] = defaultdict(list)
    for field, value in fields.items():
        name, labels = json.loads(field)
        family = name.removesuffix("_total")
        for ending in ("_bucket", "_sum", "_count"):
            family = family.removesuffix(ending) if family.removesuffix(ending) in HISTOGRAMS else family
        samples[family].append((name, labels, float(value)))
    known = [(name, help_, "counter") for name, help_ in COUNTERS.items()]
    known += [(name, help_, "histogram") for name, help_ in HISTOGRAMS.items()]
    return [_family(name, help_, kind, samples[name]) for name, help_, kind in known]


def _family(name: str, help_: str, kind: str, samples: list[tuple[str, dict[str, str], float]]) -> Metric:
    metric = Metric(name, help_, kind)
    for sample in sorted(samples, key=_place):
        metric.add_sample(*sample)
    return metric


def _place(sample: tuple[str, dict[str, str], float]) -> Any:
    """Samples of one series stand together, buckets by their bound."""
    name, labels, _ = sample
    series = sorted((key, value) for key, value in labels.items() if key != "le")
    return series, name, float(labels.get("le", "inf"))


def _field(name: str, labels: Mapping[str, str]) -> str:
    return json.dumps([name, labels], sort_keys=True)
