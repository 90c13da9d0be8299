"""Embeddings: sentences of all lengths through all of Augury, beside the same model called directly.

Both compute on one thread, in processes of their own; the vectors have to be the same. The base has all
sentences before it begins, and runs them sorted by length, in the best of several batch sizes.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence

from benchmarks.batched_encode import Task, Vectors
from benchmarks.load import Answers, Load, apply
from benchmarks.platform import Platform, WrongResult, outputs
from benchmarks.reference import Reference
from benchmarks.servers import Servers
from benchmarks.sizes import Sizes
from benchmarks.table import Row, at_least
from examples.demo_models import RECITAL, minilm

BATCH_SIZES = (8, 16, 32)
WORDS = (3, 120)
SEED = 384
CLIENTS = 64
SUBMITTERS = 16
TOLERANCE = 1e-4
WAITING_TARGET = at_least(0.85)
BACKLOG_TARGET = at_least(0.92)
SINGLE_TARGET = at_least(0.80)


class ModelMissing(RuntimeError):
    """MiniLM is not installed: it comes with what developing needs (`make install`)."""


def measure(servers: Servers, sizes: Sizes) -> Iterator[Row]:
    """Rounds of base and platform in turn: one client alone, many who wait, and a backlog."""
    model = minilm.folder()
    if model is None:
        raise ModelMissing(str(ModelMissing.__doc__))
    texts = sentences(sizes.sentences)
    platform = Platform(servers, "embeddings")
    platform.start_gateway()
    runs = Runs(platform, platform.add_model("minilm", "embeddings", str(model))["id"])
    platform.start_workers("embeddings")
    with Reference("benchmarks.batched_encode", Vectors, model) as reference:
        yield _alone(runs, reference, texts[: sizes.single_sentences], sizes.single_rounds)
        yield from _batched(runs, reference, texts, sizes.sentence_rounds)


def _alone(runs: Runs, reference: Reference[Vectors], texts: Sequence[str], rounds: int) -> Row:
    base, ours = [], []
    require_same(outputs(runs.waiting(texts, 1).bodies), reference.run(Task(texts, 1)).vectors)
    for _ in range(rounds):
        base.append(len(texts) / reference.run(Task(texts, 1)).seconds)
        ours.append(runs.waiting(texts, 1).per_second)
    return Row("embeddings, c=1", "/s", ours, "in process, one by one", base, SINGLE_TARGET)


def _batched(runs: Runs, reference: Reference[Vectors], texts: Sequence[str], rounds: int) -> Iterator[Row]:
    best = best_batch_size(reference, texts[: max(BATCH_SIZES) * 8])
    expected = reference.run(Task(texts, best)).vectors
    require_same(outputs(runs.waiting(texts, CLIENTS).bodies), expected)
    batched, waiting, backlog = [], [], []
    for _ in range(rounds):
        batched.append(len(texts) / reference.run(Task(texts, best)).seconds)
        waiting.append(runs.waiting(texts, CLIENTS).per_second)
        backlog.append(runs.backlog(texts))
    base = f"in process, sorted, batches of {best}"
    yield Row(f"embeddings, c={CLIENTS}", "/s", waiting, base, batched, WAITING_TARGET)
    yield Row(f"embeddings, backlog of {len(texts):,}", "/s", backlog, base, batched, BACKLOG_TARGET)


class Runs:
    """Sentences sent to the platform in different ways."""

    def __init__(self, platform: Platform, model_id: str) -> None:
        self._platform = platform
        self._model_id = model_id

    def waiting(self, texts: Sequence[str], clients: int) -> Answers:
        """Each of so many clients waits for a sentence's vector before it sends the next."""
        self._platform.empty_queue()
        return self._send(texts, clients, wait=True)

    def backlog(self, texts: Sequence[str]) -> float:
        """Sentences per second from the first submission to the last end; nobody waits for any of them."""
        self._platform.empty_queue()
        sent = self._send(texts, SUBMITTERS, wait=False)
        with self._platform.connect() as connection:
            self._platform.wait_until_drained(connection)
            seconds = time.monotonic() - sent.started_at
            self._platform.require_all_succeeded(connection, len(texts))
        return len(texts) / seconds

    def _send(self, texts: Sequence[str], connections: int, *, wait: bool) -> Answers:
        requests = [self._platform.submission(self._model_id, {"text": text}, wait=wait) for text in texts]
        load = Load(
            port=self._platform.port,
            requests=requests,
            connections=min(connections, len(requests)),
            total=len(requests),
            keep_bodies=wait,
        )
        return apply(load, expect=201)


def sentences(count: int) -> list[str]:
    """Slices of the recital's text of all lengths; a seed fixes them and their order."""
    words = (RECITAL / "text.txt").read_text("utf-8").split()
    chance = random.Random(SEED)
    slices = []
    for _ in range(count):
        length = chance.randint(*WORDS)
        start = chance.randrange(len(words) - length)
        slices.append(" ".join(words[start : start + length]))
    return slices


def best_batch_size(reference: Reference[Vectors], texts: Sequence[str]) -> int:
    """The size at which they take the least time, the better of two tries each."""

    def seconds(size: int) -> float:
        return min(reference.run(Task(texts, size)).seconds for _ in range(2))

    return min(BATCH_SIZES, key=seconds)


def require_same(vectors: Sequence[Sequence[float]], expected: Sequence[Sequence[float]]) -> None:
    """Raises `WrongResult` where a vector is not the one expected."""
    for ours, theirs in zip(vectors, expected, strict=True):
        if max(abs(a - b) for a, b in zip(ours, theirs, strict=True)) > TOLERANCE:
            raise WrongResult("the platform's vectors are not those of the model")
