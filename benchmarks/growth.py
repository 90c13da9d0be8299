"""Growth: what submitting, claiming and looking at a prediction cost with full tables, and with empty ones.

Two databases of one server, each with a gateway of its own, take turns. What is claimed is of the version
that the long queue waits for, and what is looked at lies anywhere in the retention's weeks. Each round
submits, claims and finishes as many predictions on either side, so an empty queue is empty again after it.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from statistics import median
from typing import Any

import psycopg

from benchmarks.filling import Filler
from benchmarks.load import Load, apply
from benchmarks.platform import Platform
from benchmarks.servers import Servers
from benchmarks.sizes import Sizes
from benchmarks.table import Row, at_most
from db.lanes import LaneInfo, register
from db.leases import Leases, Outcome
from db.session import sync_engine
from db.settings import DatabaseSettings
from db.states import Status

POOL = "echo"
INPUT = {"text": "What is the use of a book?"}
UNLIMITED = 1 << 60
_OUTPUT = json.dumps(INPUT["text"])
VERBS = ("submit", "claim", "status")
TARGET = at_most(1.5)


def measure(servers: Servers, sizes: Sizes) -> Iterator[Row]:
    """Rounds of the empty and the full database in turn; medians of each round's requests."""
    empty = Side(servers, "empty", keyspace=2)
    full = Side(servers, "full", keyspace=3)
    full.fill(finished=sizes.finished_rows, waiting=sizes.waiting_rows)
    for side in (empty, full):
        side.round(sizes.growth_requests)
    rounds = [
        (empty.round(sizes.growth_requests), full.round(sizes.growth_requests))
        for _ in range(sizes.growth_rounds)
    ]
    for verb in VERBS:
        bases, figures = ([times[verb] for times in side] for side in zip(*rounds, strict=True))
        yield Row(f"growth, {verb}, p50", "ms", figures, "empty tables", bases, TARGET)


class Side:
    """A database with a gateway over it and a lane of its own, which claims but runs nothing."""

    def __init__(self, servers: Servers, name: str, *, keyspace: int) -> None:
        self._platform = Platform(servers, name, keyspace=keyspace)
        self._platform.start_gateway()
        self._model = self._platform.add_model("echo", "echo", "echo")
        engine = sync_engine(DatabaseSettings(database_url=self._platform.database_url))
        lane = LaneInfo(id="scratch", worker="benchmark", slot=0, host="localhost", pid=0, pools=[POOL])
        register(engine, lane)
        self._leases = Leases(engine, lane.id)
        self._connection = self._platform.connect()
        self._chance = random.Random(0)
        self._finished: list[str] = []

    def fill(self, *, finished: int, waiting: int) -> None:
        """Give it a past and a queue."""
        owner_id = self._platform.client.me()["id"]
        filler = Filler(self._platform.database_url, owner_id=owner_id, model=self._model, pool=POOL)
        filler.fill(finished=finished, waiting=waiting)
        self._finished = _finished_ids(self._connection)

    def round(self, requests: int) -> dict[str, float]:
        """Submit, claim, finish and look so often, one at a time: milliseconds at the median, by verb."""
        submission = self._platform.submission(self._model["id"], INPUT)
        submit = Load(port=self._platform.port, requests=[submission], connections=1, total=requests)
        submitted = apply(submit, expect=201).p50_ms
        claimed = median([self._claim_ms() for _ in range(requests)])
        known = self._finished or _finished_ids(self._connection)
        looks = [self._platform.status_request(self._chance.choice(known)) for _ in range(requests)]
        status = Load(port=self._platform.port, requests=looks, connections=1, total=requests)
        return {"submit": submitted, "claim": claimed, "status": apply(status, expect=200).p50_ms}

    def _claim_ms(self) -> float:
        """What a lane does to get work: see which versions wait, and claim of the first one."""
        started_at = time.perf_counter()
        chosen = self._leases.waiting(POOL)[0]
        claim = self._leases.claim(POOL, chosen.version_id, limit=1, budget=UNLIMITED)
        milliseconds = (time.perf_counter() - started_at) * 1000
        self._leases.finish([Outcome(lease, Status.SUCCEEDED, _OUTPUT) for lease in claim.leases])
        return milliseconds


def _finished_ids(connection: psycopg.Connection[Any]) -> list[str]:
    rows = connection.execute("SELECT id FROM predictions WHERE completed_at IS NOT NULL").fetchall()
    return [row[0] for row in rows]
