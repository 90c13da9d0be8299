"""Backfill: what a batch of 10,000 lines does to those who wait, and how much of the idle time it uses.

Sentences arrive at random times (a Poisson process; a seed fixes it), half as many as one client that never
pauses would send, and for each somebody waits: alone, and while the batch runs. For which share of the time
they keep the lane busy is told by the CPU time of its process, which computes on one thread. What the batch
could get beside them is what it gets alone, times the share that they leave idle when they are alone.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import httpx
import psutil

from benchmarks.load import Answers, Load, apply
from benchmarks.platform import Platform, WrongResult, outputs
from benchmarks.sentences import ModelMissing, sentences
from benchmarks.servers import Servers
from benchmarks.sizes import Sizes
from benchmarks.table import Row, at_least, at_most
from cli.embedded import HOST
from examples.demo_models import minilm

# Of the rate that one client comes to who sends the next sentence when the last one's vector is there.
LOAD_SHARE = 0.5
# Enough for those who wait at the same time, and few enough that the gateway closes none as idle.
CONNECTIONS = 16
SEED = 1936
LATENCY_TARGET = at_most(1.3)
USE_TARGET = at_least(0.8)
_POLL_SECONDS = 0.1


def measure(servers: Servers, sizes: Sizes) -> Iterator[Row]:
    """Rounds of the clients alone, the batch alone, and both."""
    model = minilm.folder()
    if model is None:
        raise ModelMissing(str(ModelMissing.__doc__))
    platform = Platform(servers, "backfill")
    platform.start_gateway()
    scene = Scene(platform, platform.add_model("minilm", "embeddings", str(model)), sizes)
    platform.start_workers("embeddings")
    load = scene.poisson(LOAD_SHARE * scene.rate_of_one_client())
    alone, beside, used, usable = [], [], [], []
    for _ in range(sizes.backfill_rounds):
        busy_before, began = scene.lane_seconds(), time.monotonic()
        alone.append(scene.send(load).p95_ms)
        idle_share = 1 - (scene.lane_seconds() - busy_before) / (time.monotonic() - began)
        with scene.batch() as batch:
            before, began = batch.lines_done(), time.monotonic()
            time.sleep(sizes.backfill_seconds)
            between, middle = batch.lines_done(), time.monotonic()
            beside.append(scene.send(load).p95_ms)
            after, ended = batch.lines_done(), time.monotonic()
        usable.append((between - before) / (middle - began) * idle_share)
        used.append((after - between) / (ended - middle))
    yield Row("backfill, clients that wait, p95", "ms", beside, "without the batch", alone, LATENCY_TARGET)
    yield Row("backfill, lines beside them", "/s", used, "alone × idle share", usable, USE_TARGET)


class Scene:
    """A platform with one lane, clients that wait, and a batch."""

    def __init__(self, platform: Platform, model: dict[str, Any], sizes: Sizes) -> None:
        self._platform = platform
        self._model = f"{model['owner']}/{model['name']}"
        self._sizes = sizes
        self._texts = sentences(sizes.sentences)
        self._requests = [platform.submission(model["id"], {"text": text}, wait=True) for text in self._texts]

    def rate_of_one_client(self) -> float:
        """Sentences per second, each sent when the last one's vector is there; after a round of warm-up."""
        load = self._load(connections=1, total=self._sizes.single_sentences)
        self.send(load)
        return self.send(load).per_second

    def poisson(self, per_second: float) -> Load:
        """Clients that come at random times, so many per second."""
        chance = random.Random(SEED)
        arrivals = [0.0]
        while arrivals[-1] < self._sizes.backfill_seconds:
            arrivals.append(arrivals[-1] + chance.expovariate(per_second))
        return self._load(connections=min(CONNECTIONS, len(arrivals)), arrivals=arrivals)

    def send(self, load: Load) -> Answers:
        """The answers, all of which have to be vectors."""
        answers = apply(load, expect=201)
        outputs(answers.bodies)
        return answers

    def lane_seconds(self) -> float:
        """How long the lane, which computes on one thread, has been busy: the CPU time of its process."""
        with self._platform.connect() as connection:
            ((pid,),) = connection.execute("SELECT pid FROM lanes").fetchall()
        times = psutil.Process(pid).cpu_times()
        return times.user + times.system

    @contextmanager
    def batch(self) -> Iterator[Batch]:
        """A batch whose first lines are done; what is left of it in the end is canceled."""
        texts = self._texts
        lines = [self._line(n, texts[n % len(texts)]) for n in range(self._sizes.backfill_lines)]
        with Batch(self._platform, "\n".join(lines)) as batch:
            while not batch.lines_done():
                time.sleep(_POLL_SECONDS)
            time.sleep(self._sizes.warm_up_seconds)
            yield batch
        self._platform.empty_queue()

    def _line(self, number: int, text: str) -> str:
        body = {"model": self._model, "input": text}
        return json.dumps({"custom_id": str(number), "method": "POST", "url": "/v1/embeddings", "body": body})

    def _load(self, **how: Any) -> Load:
        return Load(port=self._platform.port, requests=self._requests, keep_bodies=True, **how)


class Batch:
    """A batch under way; a context manager that cancels it in the end."""

    def __init__(self, platform: Platform, lines: str) -> None:
        self._http = httpx.Client(
            base_url=f"http://{HOST}:{platform.port}/v1/",
            headers={"Authorization": f"Bearer {platform.token}"},
            timeout=60,
            trust_env=False,
        )
        file = self._ask("POST", "files", data={"purpose": "batch"}, files={"file": ("lines.jsonl", lines)})
        what = {"endpoint": "/v1/embeddings", "completion_window": "24h", "input_file_id": file["id"]}
        self._path = f"batches/{self._ask('POST', 'batches', json=what)['id']}"

    def lines_done(self) -> int:
        """How many lines have been answered. Raises `WrongResult` unless all of those well, and some wait."""
        batch = self._ask("GET", self._path)
        counts = batch["request_counts"]
        if batch["status"] not in ("validating", "in_progress") or counts["failed"]:
            raise WrongResult(f"the batch is {batch['status']}, its lines are {counts}")
        return int(counts["completed"])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ask("POST", f"{self._path}/cancel")
        while self._ask("GET", self._path)["status"] != "cancelled":
            time.sleep(_POLL_SECONDS)
        self._http.close()

    def _ask(self, method: str, path: str, **what: Any) -> Any:
        return self._http.request(method, path, **what).raise_for_status().json()
