"""The base of `embeddings`: MiniLM by transformers alone, over batches that were sorted by length.

Reads one `Task` after the other from standard input and answers each with `Vectors`, as lines of JSON.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

import msgspec

MAX_TOKENS = 256


class Task(msgspec.Struct, frozen=True):
    """Embed these, so many at a time."""

    sentences: Sequence[str]
    batch_size: int


class Vectors(msgspec.Struct, frozen=True):
    """The vectors in the order of the sentences, and how long they took, tokenising included."""

    vectors: Sequence[Sequence[float]]
    seconds: float


class Encoder:
    """The model from its folder, in float32 on the CPU."""

    def __init__(self, path: str) -> None:
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging

        logging.disable_progress_bar()
        self._tokenizer: Any = AutoTokenizer.from_pretrained(path)
        self._model: Any = AutoModel.from_pretrained(path, dtype="float32").eval()

    def run(self, task: Task) -> Vectors:
        """The mean of each sentence's tokens, of length 1, from batches of sentences of like length.

        One by one they come in their order, as from a client that waits for each: there is nothing to sort.
        """
        import torch

        if task.batch_size == 1 and len(task.sentences) > 1:
            alone = [self.run(Task([sentence], 1)) for sentence in task.sentences]
            return Vectors([one.vectors[0] for one in alone], sum(one.seconds for one in alone))
        started_at = time.perf_counter()
        with torch.inference_mode():
            ids = self._tokenizer(list(task.sentences), truncation=True, max_length=MAX_TOKENS)["input_ids"]
            order = sorted(range(len(ids)), key=lambda index: len(ids[index]))
            vectors: dict[int, list[float]] = {}
            for start in range(0, len(order), task.batch_size):
                places = order[start : start + task.batch_size]
                batch = self._tokenizer.pad(
                    {"input_ids": [ids[place] for place in places]}, return_tensors="pt"
                )
                states = self._model(**batch).last_hidden_state
                mask = batch["attention_mask"][..., None]
                means = (states * mask).sum(1) / mask.sum(1)
                vectors |= zip(places, torch.nn.functional.normalize(means).tolist(), strict=True)
        return Vectors([vectors[place] for place in range(len(ids))], time.perf_counter() - started_at)


def main() -> None:
    """Serve tasks with the model in the folder given."""
    encoder = Encoder(sys.argv[1])
    for line in sys.stdin.buffer:
        vectors = encoder.run(msgspec.json.decode(line, type=Task))
        sys.stdout.buffer.write(msgspec.json.encode(vectors) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
