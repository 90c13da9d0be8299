"""Text generation: ragged prompts through all of Augury, beside the same model called directly.

Both compute on one thread, in processes of their own, and continue the same prompts greedily; the texts have
to be the same. What is counted are the tokens asked for: padding and overrun are nobody's merit.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from benchmarks.batched_generate import Completion, Prompt, Task
from benchmarks.load import Load, apply
from benchmarks.platform import Platform, WrongResult, outputs
from benchmarks.reference import Reference
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
    with Reference("benchmarks.batched_generate", Completion, RECITAL) as reference:
        best = best_batch_size(reference, prompts)
        expected = reference.run(Task(prompts, best)).texts
        apply(load, expect=201)
        singles, batched, ours = [], [], []
        for _ in range(sizes.rounds):
            singles.append(tokens / reference.run(Task(prompts, 1)).seconds)
            batched.append(tokens / reference.run(Task(prompts, best)).seconds)
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


def best_batch_size(reference: Reference[Completion], prompts: Sequence[Prompt]) -> int:
    """The size at which the prompts take the least time, the better of two tries each."""

    def seconds(size: int) -> float:
        return min(reference.run(Task(prompts, size)).seconds for _ in range(2))

    return min((size for size in BATCH_SIZES if size <= len(prompts)), key=seconds, default=len(prompts))
