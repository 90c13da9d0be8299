"""The base of `text`: the same model by transformers' own `generate`, in a process with nothing around it.

Reads one `Task` after the other from standard input and answers each with a `Completion`, as lines of JSON.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

import msgspec


class Prompt(msgspec.Struct, frozen=True):
    """A text to continue, greedily, by exactly so many tokens."""

    text: str
    new_tokens: int


class Task(msgspec.Struct, frozen=True):
    """Continue these, so many at a time."""

    prompts: Sequence[Prompt]
    batch_size: int


class Completion(msgspec.Struct, frozen=True):
    """The continuations in the order of the prompts, and how long they took."""

    texts: Sequence[str]
    seconds: float


class Generator:
    """A model from a folder, in float32 on the CPU."""

    def __init__(self, path: str) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self._tokenizer: Any = AutoTokenizer.from_pretrained(path, padding_side="left")
        self._model: Any = AutoModelForCausalLM.from_pretrained(path, dtype="float32").eval()

    def run(self, task: Task) -> Completion:
        """Batches of prompts of like length, so that padding costs as little as it can."""
        prompts = task.prompts
        order = sorted(range(len(prompts)), key=lambda i: (prompts[i].new_tokens, len(prompts[i].text)))
        texts: dict[int, str] = {}
        started_at = time.perf_counter()
        for start in range(0, len(order), task.batch_size):
            places = order[start : start + task.batch_size]
            texts |= dict(zip(places, self._complete([prompts[place] for place in places]), strict=True))
        return Completion([texts[place] for place in range(len(prompts))], time.perf_counter() - started_at)

    def _complete(self, batch: Sequence[Prompt]) -> list[str]:
        inputs = self._tokenizer([prompt.text for prompt in batch], return_tensors="pt", padding=True)
        output = self._model.generate(
            inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            do_sample=False,
            max_new_tokens=max(prompt.new_tokens for prompt in batch),
        )
        written = output[:, inputs["input_ids"].shape[1] :]
        return [
            self._tokenizer.decode(ids[: prompt.new_tokens], skip_special_tokens=True)
            for prompt, ids in zip(batch, written, strict=True)
        ]


def main() -> None:
    """Serve tasks with the model in the folder given."""
    generator = Generator(sys.argv[1])
    for line in sys.stdin.buffer:
        completion = generator.run(msgspec.json.decode(line, type=Task))
        sys.stdout.buffer.write(msgspec.json.encode(completion) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
