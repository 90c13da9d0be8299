"""Streaming: how soon a client reads the first words of demo/recital, and how old they are by then.

One connection asks for a prediction, another opens its stream, as Replicate's clients do. The base is the
first token of the same prompts by transformers' `generate`, one by one or as many at a time as there are
clients, in a process with nothing around it. How old the first words are is told by their id in Redis,
which is the millisecond in which the lane handed them over.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, cast
from urllib.parse import urlsplit

import msgspec
import redis

from benchmarks.batched_generate import Completion, Prompt, Task
from benchmarks.load import request
from benchmarks.platform import Platform, WrongResult
from benchmarks.reference import Reference
from benchmarks.servers import Servers
from benchmarks.sizes import Sizes
from benchmarks.table import Row, at_most
from benchmarks.text import ragged_prompts
from cli.embedded import HOST
from examples.demo_models import RECITAL
from workers.messages import stream_key

CLIENTS = (1, 16)
NEW_TOKENS = 16
HAND_OVER_TARGET = at_most(20)


@dataclass(frozen=True, slots=True)
class Streamed:
    """One stream that was read to its end. `began_at` and `heard_at` are in seconds since 1970."""

    prediction_id: str
    began_at: float
    heard_at: float

    @property
    def first_event_ms(self) -> float:
        return (self.heard_at - self.began_at) * 1000


def measure(servers: Servers, sizes: Sizes) -> Iterator[Row]:
    """For one client and for many: rounds of the model alone and of the platform in turn."""
    platform = Platform(servers, "streaming")
    platform.start_gateway()
    model = platform.add_model("recital", "text-generation", str(RECITAL))
    platform.start_workers("text-generation")
    prompts = [prompt.text for prompt in ragged_prompts(sizes.streams)]
    submissions = [_submission(platform, model["id"], prompt) for prompt in prompts]
    first_tokens = [Prompt(prompt, 1) for prompt in prompts]
    lane_writes = redis.Redis.from_url(servers.valkey.database_url(0))
    with Reference("benchmarks.batched_generate", Completion, RECITAL) as reference, lane_writes:
        for clients in CLIENTS:
            alone, first_events, hand_overs = [], [], []
            for number in range(sizes.rounds + 1):
                tokens = reference.run(Task(first_tokens, clients))
                streams = asyncio.run(_stream(platform.port, submissions, clients))
                if number:  # the first round warms up
                    passes = -(-len(prompts) // clients)
                    alone.append(tokens.seconds * 1000 / passes)
                    first_events.append(median(stream.first_event_ms for stream in streams))
                    hand_overs.append(median(_age_ms(lane_writes, stream) for stream in streams))
            name = f"streaming, c={clients}"
            yield Row(f"{name}, first event", "ms", first_events, "generate, first token", alone)
            yield Row(f"{name}, lane → client", "ms", hand_overs, target=HAND_OVER_TARGET)


def _submission(platform: Platform, model_id: str, prompt: str) -> bytes:
    value = {"prompt": prompt, "max_new_tokens": NEW_TOKENS, "temperature": 0}
    body = msgspec.json.encode({"model_id": model_id, "input": value, "stream": True})
    headers = {"Authorization": f"Bearer {platform.token}"}
    return request("POST", "/v1/predictions", headers=headers, body=body)


async def _stream(port: int, submissions: Sequence[bytes], clients: int) -> list[Streamed]:
    """All of them, each client one after the other."""
    waiting = iter(submissions)
    streams: list[Streamed] = []

    async def work() -> None:
        for submission in waiting:
            streams.append(await _streamed(port, submission))

    await asyncio.gather(*(work() for _ in range(clients)))
    return streams


async def _streamed(port: int, submission: bytes) -> Streamed:
    """Ask for a prediction and read its stream. Raises `WrongResult` unless it has output and ends well."""
    began_at = time.time()
    made = await _answer(port, submission)
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        writer.write(request("GET", urlsplit(made["urls"]["stream"]).path))
        try:
            await reader.readuntil(b"event: output\n")
            heard_at = time.time()
            await reader.readuntil(b"event: done\ndata: {}\n")
        except asyncio.IncompleteReadError as error:
            raise WrongResult(f"a stream ended otherwise: {error.partial[-500:]!r}") from None
    finally:
        writer.close()
    return Streamed(made["id"], began_at, heard_at)


async def _answer(port: int, submission: bytes) -> dict[str, Any]:
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        writer.write(submission)
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
        if length is None or b" 201 " not in head:
            raise WrongResult(f"not accepted: {head!r}")
        answer: dict[str, Any] = msgspec.json.decode(await reader.readexactly(int(length[1])))
        return answer
    finally:
        writer.close()


def _age_ms(lane_writes: redis.Redis, stream: Streamed) -> float:
    """How long before the client the lane had the first words, as Redis has noted it."""
    key = stream_key(stream.prediction_id, 1)
    ((entry_id, _),) = cast(list[tuple[bytes, Any]], lane_writes.xrange(key, count=1))
    return stream.heard_at * 1000 - float(entry_id.partition(b"-")[0])
