"""Refusal: what a 429 costs in CPU time, beside what a request costs that is served to its end.

Three gateways with a database each: one serves everything, the caller of one has spent the rate limit, and
the caller of one has as many predictions waiting as may wait. What is asked for is one token of demo/recital:
as a prediction, and as a conversation.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import msgspec
import psutil

from api.backlog import LOOK_SECONDS
from benchmarks import talker
from benchmarks.load import Load, UnexpectedAnswer, apply, request
from benchmarks.platform import Platform
from benchmarks.servers import Servers
from benchmarks.sizes import Sizes
from benchmarks.table import Row, at_most

CONNECTIONS = 16
TARGET = at_most(0.2)
PREDICTIONS, CHAT = "/v1/predictions", "/v1/chat/completions"
TEXT = "What is the use of a book?"
# Registering the model spends it.
SPENT_LIMIT = {"RATE_LIMIT_CREATE": "1/day"}
FULL_QUEUE = {"BACKLOG_PER_USER": "1"}


class Gateway:
    """A gateway on a database of its own, with a model that talks."""

    def __init__(
        self,
        servers: Servers,
        name: str,
        model: Path,
        *,
        keyspace: int = 0,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.platform = Platform(servers, name, keyspace=keyspace, environment=environment)
        self.platform.start_gateway()
        model_id = self.platform.add_model("talker", "text-generation", str(model))["id"]
        self._model_id = model_id
        conversation = {
            "model": model_id,
            "messages": [{"role": "user", "content": TEXT}],
            "max_tokens": 1,
            "temperature": 0,
        }
        headers = {"Authorization": f"Bearer {self.platform.token}"}
        self._requests = {
            PREDICTIONS: self.platform.submission(
                model_id, {"prompt": TEXT, "max_new_tokens": 1, "temperature": 0}, wait=True
            ),
            CHAT: request("POST", CHAT, headers=headers, body=msgspec.json.encode(conversation)),
        }

    def fill(self) -> None:
        """Have a prediction wait, and return when the gateway has counted it."""
        counted_at = time.monotonic() + LOOK_SECONDS
        asked = [self.platform.submission(self._model_id, {"prompt": TEXT})]
        while time.monotonic() < counted_at:
            with suppress(UnexpectedAnswer):
                apply(Load(port=self.platform.port, requests=asked, connections=1, total=1), expect=201)

    def cpu_us(self, path: str, sizes: Sizes, *, expect: int) -> float:
        """Microseconds of CPU for each request, user's and system's, while clients wait for each answer."""
        self._apply(path, sizes.warm_up_seconds, expect)
        before = _cpu_seconds()
        count = self._apply(path, sizes.round_seconds, expect)
        return (_cpu_seconds() - before) * 1e6 / count

    def _apply(self, path: str, seconds: float, expect: int) -> int:
        asked = [self._requests[path]]
        load = Load(port=self.platform.port, requests=asked, connections=CONNECTIONS, seconds=seconds)
        return len(apply(load, expect=expect).latencies_ms)


def _cpu_seconds() -> float:
    """Of all servers, gateways and lanes, also of their processes that have ended."""
    spent = [process.cpu_times() for process in psutil.Process().children(recursive=True)]
    return sum(sum(times[:4]) for times in spent)


def measure(servers: Servers, sizes: Sizes) -> Iterator[Row]:
    """For each route, rounds of served, limited and crowded-out requests in turn."""
    model = talker.build(servers.directory / "talker")
    serving = Gateway(servers, "serving", model)
    limited = Gateway(servers, "limited", model, keyspace=1, environment=SPENT_LIMIT)
    full = Gateway(servers, "full", model, keyspace=2, environment=FULL_QUEUE)
    full.fill()
    serving.platform.start_workers("text-generation")
    for path, status in ((PREDICTIONS, 201), (CHAT, 200)):
        served, beyond_limit, crowded_out = [], [], []
        for _ in range(sizes.rounds):
            served.append(serving.cpu_us(path, sizes, expect=status))
            serving.platform.empty_queue()
            beyond_limit.append(limited.cpu_us(path, sizes, expect=429))
            crowded_out.append(full.cpu_us(path, sizes, expect=429))
        for reason, figures in (("rate limit", beyond_limit), ("full queue", crowded_out)):
            yield Row(f"refusal, {path}, {reason}", "µs", figures, "served", served, TARGET)
