"""OpenAI's routes: what all of Augury adds to a model, as 16 clients by OpenAI's own library see it.

The base is the same model in a process with nothing around it, asked by as many at once. The floor of what is
added is the same clients at a server that answers at once, and the same to everybody: most of what they see
is their own library at work.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from benchmarks import talker
from benchmarks.in_process import Done
from benchmarks.in_process import Task as Inputs
from benchmarks.openai_clients import Route, Told
from benchmarks.openai_clients import Task as Load
from benchmarks.platform import Platform, WrongResult
from benchmarks.reference import Reference
from benchmarks.sentences import ModelMissing, require_same
from benchmarks.servers import Servers, wait_for_port
from benchmarks.sizes import Sizes
from benchmarks.table import Row
from cli.embedded import HOST, free_port
from cli.processes import Service
from examples.demo_models import RECITAL, minilm

CLIENTS = 16
WORDS = 8
NEW_TOKENS = 16


@dataclass(frozen=True, slots=True)
class Case:
    """A route, and the model behind it."""

    route: Route
    model_type: str
    folder: Path

    def input(self, text: str) -> dict[str, Any]:
        """What the route makes of a text, for the model."""
        if self.route == "embeddings":
            return {"text": [text]}
        turn = {"role": "user", "content": text}
        return {"messages": [turn], "max_new_tokens": NEW_TOKENS, "temperature": 0}

    def require_same(self, answers: Sequence[Any], outputs: Sequence[Any]) -> None:
        """Raises `WrongResult` unless the clients were told what the model says."""
        if self.route == "embeddings":
            require_same(answers, [vectors[0] for vectors in outputs])
        elif list(answers) != list(outputs):
            raise WrongResult("the platform's texts are not those of the model")


def measure(servers: Servers, sizes: Sizes) -> Iterator[Row]:
    """For each route, rounds of the model alone, the floor and the platform in turn."""
    encoder = minilm.folder()
    if encoder is None:
        raise ModelMissing(str(ModelMissing.__doc__))
    cases = [
        Case("embeddings", "embeddings", encoder),
        Case("chat", "text-generation", talker.build(servers.directory / "talker")),
    ]
    canned = _start_canned(servers)
    platform = Platform(servers, "openai")
    platform.start_gateway()
    models = [platform.add_model(case.route, case.model_type, str(case.folder))["id"] for case in cases]
    platform.start_workers(*(case.model_type for case in cases))
    texts = _texts(sizes.latency_requests)
    with (
        Reference("benchmarks.in_process", Done) as model_alone,
        Reference("benchmarks.openai_clients", Told) as clients,
    ):
        for case, model in zip(cases, models, strict=True):
            values = [case.input(text) for text in texts]
            inputs = Inputs(case.model_type, str(case.folder), values, CLIENTS)
            ours = Load(
                route=case.route,
                base_url=f"{platform.client.url}/v1",
                token=platform.token,
                model=model,
                texts=texts,
                max_tokens=NEW_TOKENS,
                clients=CLIENTS,
            )
            floor = msgspec.structs.replace(ours, base_url=f"http://{HOST}:{canned}/v1")
            yield from _rows(case, model_alone, inputs, clients, floor, ours, sizes.rounds)


def _rows(
    case: Case,
    model_alone: Reference[Done],
    inputs: Inputs,
    clients: Reference[Told],
    floor: Load,
    ours: Load,
    rounds: int,
) -> Iterator[Row]:
    alone_ms, floor_ms, ours_ms = [], [], []
    for number in range(rounds + 1):
        done, canned, told = model_alone.run(inputs), clients.run(floor), clients.run(ours)
        case.require_same(told.answers, done.outputs)
        if number:  # the first round warms up
            alone_ms.append(median(done.latencies_ms))
            floor_ms.append(median(canned.latencies_ms))
            ours_ms.append(median(told.latencies_ms))
    added_ms = [whole - alone for whole, alone in zip(ours_ms, alone_ms, strict=True)]
    name = f"openai, {case.route}, c={CLIENTS}"
    yield Row(f"{name}, p50", "ms", ours_ms, "in process", alone_ms)
    yield Row(f"{name}, added to p50", "ms", added_ms, "canned answers", floor_ms)


def _start_canned(servers: Servers) -> int:
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.canned", str(port)]
    canned = Service("canned", command, os.environ, servers.log("canned"))
    servers.start(canned)
    wait_for_port(canned, port)
    return port


def _texts(count: int) -> list[str]:
    """Successive pieces of the recital's text, of as many words each."""
    words = (RECITAL / "text.txt").read_text("utf-8").split()
    starts = [number * WORDS % (len(words) - 2 * WORDS) for number in range(count)]
    return [" ".join(words[start : start + WORDS]) for start in starts]
