"""Text generation: ragged prompts through all of Augury, beside the same model called directly.

Both compute on one thread, in processes of their own, and continue the same prompts greedily; the texts have
to be the same. What is counted are the tokens asked for: padding and overrun are nobody's merit.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from benchmarks.batched_generate import Completion, Prompt, Task
from benchmarks.load import Load, LoadFailed, apply
from benchmarks.platform import Platform, WrongResult, outputs
from benchmarks.servers import Servers
from benchmarks.sizes import Sizes
from benchmarks.table import Row, at_least
from examples.demo_models import RECITAL

BATCH_SIZES = (8, 16, 32, 64)
PROMPT_CHARACTERS = (8, 256)
NEW_TOKENS = (8, 128)
SEED = 1865
TARGET = at_least(0.85)


def measure(servers: Servers, sizes: Sizes) -> Iterator[Row]:
    """Rounds of one by one, best batch and platform in turn, after a warm-up of each."""
    prompts = ragged_prompts(sizes.prompts)
    tokens = sum(prompt.new_tokens for prompt in prompts)
    platform = Platform(servers, "text")
    platform.start_gateway()
    model = platform.add_model("recital", "text-generation", str(RECITAL))
    platform.start_workers("text-generation")
    requests = [platform.submission(model["id"], _input_of(prompt), wait=True) for prompt in prompts]
    load = Load(
        port=platform.port,
        requests=requests,
        connections=len(requests),
        total=len(requests),
        keep_bodies=True,
    )
    with Reference(RECITAL) as reference:
        best = reference.best_batch_size(prompts)
        expected = reference.run(prompts, best).texts
        apply(load, expect=201)
        singles, batched, ours = [], [], []
        for _ in range(sizes.rounds):
            singles.append(tokens / reference.run(prompts, 1).seconds)
            batched.append(tokens / reference.run(prompts, best).seconds)
            answers = apply(load, expect=201)
            ours.append(tokens / answers.elapsed_seconds)
            if outputs(answers.bodies) != expected:
                raise WrongResult("the platform's texts are not those of generate")
    name = f"text, {len(prompts)} ragged prompts"
    yield Row(name, "tokens/s", ours, f"generate, batches of {best}", batched, TARGET)
    yield Row(name, "tokens/s", ours, "generate, one by one", singles)


def ragged_prompts(count: int) -> list[Prompt]:
    """Slices of the recital's text of all lengths, none so near its end that the model would fall silent."""
    text = (RECITAL / "text.txt").read_text("utf-8").rstrip("\n")
    # The order of the lengths matters to a platform that takes what comes: a seed fixes it.
    chance = random.Random(SEED)
    prompts = []
    for _ in range(count):
        length, new_tokens = chance.randint(*PROMPT_CHARACTERS), chance.randint(*NEW_TOKENS)
        start = chance.randrange(len(text.encode()) - length - new_tokens)
        prompts.append(Prompt(text[start : start + length], new_tokens))
    return prompts


def _input_of(prompt: Prompt) -> dict[str, object]:
    return {"prompt": prompt.text, "max_new_tokens": prompt.new_tokens, "temperature": 0}


class Reference:
    """The process of `benchmarks.batched_generate`, for as long as this is open."""

    def __init__(self, model: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.batched_generate", str(model)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    def run(self, prompts: Sequence[Prompt], batch_size: int) -> Completion:
        """Continue the prompts, so many at a time. Raises `LoadFailed` when the process has died."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(msgspec.json.encode(Task(prompts, batch_size)) + b"\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise LoadFailed(f"the process of generate ended with status {self._process.wait()}")
        return msgspec.json.decode(line, type=Completion)

    def best_batch_size(self, prompts: Sequence[Prompt]) -> int:
        """The size at which the prompts take the least time, the better of two tries each."""

        def seconds(size: int) -> float:
            return min(self.run(prompts, size).seconds for _ in range(2))

        return min((size for size in BATCH_SIZES if size <= len(prompts)), key=seconds, default=len(prompts))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait()
