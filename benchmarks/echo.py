"""Echo end to end: how fast predictions pass through Augury, and how soon a waiting client has its answer.

Beside it runs `benchmarks.naive` on the same servers. Each has the machine to itself during its rounds; what
idles beside it takes a few percent of a core at most.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import sys
import time
from collections.abc import Iterator
from functools import partial
from uuid import uuid4

import msgspec
import psycopg

from benchmarks.load import Answers, Load, apply, request
from benchmarks.platform import WAIT_SECONDS, Platform
from benchmarks.quiet import quiet_rounds
from benchmarks.servers import Servers, wait_for_port
from benchmarks.sizes import Sizes
from benchmarks.table import Row, at_least, at_most
from cli.embedded import free_port
from cli.processes import Service

TEXT = {"text": "What is the use of a book?"}
CONNECTIONS = 16
WAITING_CONNECTIONS = 64
LATENCY_TARGET = at_most(5)
NAIVE_TARGET = at_least(5)


def measure(servers: Servers, sizes: Sizes) -> Iterator[Row]:
    """Throughput, latency, and goodput beside the naive server."""
    platform = Platform(servers, "echo")
    platform.start_gateway()
    model = platform.add_model("echo", "echo", "echo")
    platform.start_workers("echo")
    waiting = platform.submission(model["id"], TEXT, wait=True)
    apply(Load(port=platform.port, requests=[waiting], connections=1, total=50), expect=201)

    submission = platform.submission(model["id"], TEXT)
    yield Row("echo, accepted → ended", "/s", _throughputs(platform, submission, sizes))
    for connections, target in ((1, LATENCY_TARGET), (CONNECTIONS, None)):
        rounds = quiet_rounds(partial(_latencies, platform, waiting, connections, sizes), sizes.rounds)
        name, note = f"echo, Prefer: wait, c={connections}", str(rounds)
        p50 = [answers.p50_ms for answers in rounds.results]
        p95 = [answers.p95_ms for answers in rounds.results]
        yield Row(f"{name}, p50", "ms", p50, target=target, note=note)
        yield Row(f"{name}, p95", "ms", p95, note=note)
    yield _beside_naive(servers, platform, waiting, sizes)


def _throughputs(platform: Platform, submission: bytes, sizes: Sizes) -> list[float]:
    """Predictions per second from the first request to the last end; nobody waits for any of them."""
    count = sizes.echo_predictions
    load = Load(port=platform.port, requests=[submission], connections=CONNECTIONS, total=count)
    per_second = []
    with platform.connect() as connection:
        for _ in range(sizes.rounds):
            platform.empty_queue()
            sent = apply(load, expect=201)
            platform.wait_until_drained(connection)
            per_second.append(count / (time.monotonic() - sent.started_at))
            platform.require_all_succeeded(connection, count)
    return per_second


def _latencies(platform: Platform, waiting: bytes, connections: int, sizes: Sizes) -> Answers:
    total = sizes.latency_requests * connections
    platform.empty_queue()
    return apply(
        Load(port=platform.port, requests=[waiting], connections=connections, total=total), expect=201
    )


def _beside_naive(servers: Servers, platform: Platform, waiting: bytes, sizes: Sizes) -> Row:
    naive = Naive(servers)
    ours, theirs = [], []
    for _ in range(sizes.rounds):
        platform.empty_queue()
        theirs.append(_goodput(naive.port, naive.submission, sizes))
        ours.append(_goodput(platform.port, waiting, sizes))
    name = f"echo, Prefer: wait, c={WAITING_CONNECTIONS}"
    return Row(name, "/s", ours, "naive server", theirs, NAIVE_TARGET)


def _goodput(port: int, waiting: bytes, sizes: Sizes) -> float:
    """Succeeded predictions per second, as clients that wait for each see it."""

    def run(seconds: float) -> float:
        load = Load(
            port=port, requests=[waiting], connections=WAITING_CONNECTIONS, seconds=seconds, keep_bodies=True
        )
        answers = apply(load, expect=201)
        succeeded = sum(msgspec.json.decode(body)["status"] == "succeeded" for body in answers.bodies)
        return float(succeeded / answers.elapsed_seconds)

    run(sizes.warm_up_seconds)
    return run(sizes.round_seconds)


class Naive:
    """The naive server at work: its gateway and a Celery worker of one lane, one user and one echo model."""

    def __init__(self, servers: Servers) -> None:
        database_url = servers.fresh_database("naive")
        self.port = free_port()
        environment = {
            **os.environ,
            "DATABASE_URL": database_url,
            "REDIS_URL": servers.valkey.database_url(1),
            "OMP_NUM_THREADS": "1",
        }
        gateway_command = [sys.executable, "-m", "benchmarks.naive", str(self.port)]
        gateway = Service("naive-gateway", gateway_command, environment, servers.log("naive-gateway"))
        servers.start(gateway)
        wait_for_port(gateway, self.port)
        worker_command = [sys.executable, "-m", "celery", "-A", "benchmarks.naive.tasks", "worker"]
        worker_command += ["-c", "1", "--without-mingle", "--without-gossip"]
        servers.start(Service("naive-worker", worker_command, environment, servers.log("naive-worker")))
        token = secrets.token_urlsafe(32)
        body = {"model_id": str(_furnish(database_url, token)), "input": TEXT}
        self.submission = request(
            "POST",
            "/v1/predictions",
            headers={"Authorization": f"Bearer {token}", "Prefer": f"wait={WAIT_SECONDS}"},
            body=msgspec.json.encode(body),
        )


def _furnish(database_url: str, token: str) -> str:
    """Give the naive server a user with this token, and an echo model, whose id is returned."""
    model_id = str(uuid4())
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO users (id, username, token_digest) VALUES (%s, 'benchmark', %s)",
            [uuid4(), hashlib.sha256(token.encode()).digest()],
        )
        connection.execute(
            "INSERT INTO models (id, name, model_type) VALUES (%s, 'echo', 'echo')", [model_id]
        )
    return model_id
