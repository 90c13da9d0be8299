"""Switching: two models in turn, in a lane whose memory holds one, with affinity and in strict order.

Strict order is what a plain queue does: each prediction is served when its turn has come, so each needs the
other model. It is the same platform, told to prefer nothing (`AFFINITY_SECONDS=0`) and to batch nothing,
for between two neighbours of one model there never is one to batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.load import Load, apply
from benchmarks.platform import Platform, outputs
from benchmarks.servers import Servers
from benchmarks.sizes import Sizes
from benchmarks.table import Row, at_least
from examples.demo_models import RECITAL

CONNECTIONS = 16
INPUT = {"prompt": "Alice was beginning to get", "max_new_tokens": 32, "temperature": 0}
# Of the lane's memory each model says to need more than half.
LANE_MEMORY_MB = 1000
MODEL_MEMORY_MB = 600
TARGET = at_least(3)


def measure(servers: Servers, sizes: Sizes) -> Iterator[Row]:
    """Rounds of both in turn, after a warm-up of each; all clients wait for their answers."""
    affine = _load(servers, "affine", 0, sizes, {}, {})
    strict = _load(servers, "strict", 1, sizes, {"AFFINITY_SECONDS": "0"}, {"max_batch": 1})
    ours, theirs = [], []
    for round_ in range(sizes.switching_rounds + 1):
        rates = [_rate(load) for load in (affine, strict)]
        if round_ > 0:
            ours.append(rates[0])
            theirs.append(rates[1])
    yield Row("switching, two models in turn, c=16", "/s", ours, "strict order", theirs, TARGET)


def _load(
    servers: Servers,
    name: str,
    keyspace: int,
    sizes: Sizes,
    environment: Mapping[str, str],
    options: Mapping[str, Any],
) -> Load:
    """A platform of its own, and clients that ask for its two models in turn."""
    environment = {"WORKER_MEMORY_MB": str(LANE_MEMORY_MB), **environment}
    platform = Platform(servers, name, keyspace=keyspace, environment=environment)
    platform.start_gateway()
    options = {"memory_mb": MODEL_MEMORY_MB, **options}
    models = [
        platform.add_model(f"recital-{letter}", "text-generation", str(RECITAL), options=options)
        for letter in "ab"
    ]
    platform.start_workers("text-generation")
    return Load(
        port=platform.port,
        requests=[platform.submission(model["id"], INPUT, wait=True) for model in models],
        connections=CONNECTIONS,
        total=sizes.switching_predictions,
        keep_bodies=True,
    )


def _rate(load: Load) -> float:
    answers = apply(load, expect=201)
    outputs(answers.bodies)
    return answers.per_second
