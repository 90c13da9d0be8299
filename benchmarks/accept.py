"""Accept: durable `POST /v1/predictions` per second beside the simplest thing that FastAPI can do.

No worker runs, so that nothing but accepting is measured; what was accepted is thrown away after each round.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

from benchmarks.load import Load, apply, request
from benchmarks.platform import Platform
from benchmarks.servers import Servers, wait_for_port
from benchmarks.sizes import Sizes
from benchmarks.table import Row, at_least
from cli.embedded import free_port
from cli.processes import Service

CONNECTIONS = 16
TARGET = at_least(0.30)


def measure(servers: Servers, sizes: Sizes) -> Iterator[Row]:
    """Rounds of hello and accept in turn, each after a warm-up."""
    hello_port = _start_hello(servers)
    platform = Platform(servers, "accept")
    platform.start_gateway()
    model = platform.add_model("echo", "echo", "echo")
    hello = request("GET", "/")
    submission = platform.submission(model["id"], {"text": "What is the use of a book?"})
    hellos, accepts = [], []
    for _ in range(sizes.rounds):
        hellos.append(_per_second(hello_port, hello, sizes, expect=200))
        accepts.append(_per_second(platform.port, submission, sizes, expect=201))
        platform.empty_queue()
    yield Row("accept, c=16", "/s", accepts, "bare FastAPI hello", hellos, TARGET)


def _start_hello(servers: Servers) -> int:
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.hello", str(port)]
    hello = Service("hello", command, os.environ, servers.log("hello"))
    servers.start(hello)
    wait_for_port(hello, port)
    return port


def _per_second(port: int, request_bytes: bytes, sizes: Sizes, *, expect: int) -> float:
    def run(seconds: float) -> float:
        load = Load(port=port, requests=[request_bytes], connections=CONNECTIONS, seconds=seconds)
        return apply(load, expect=expect).per_second

    run(sizes.warm_up_seconds)
    return run(sizes.round_seconds)
