"""One row of a batch: a prompt's tokens with everything that is its own, so that rows can share a batch."""

from __future__ import annotations

from dataclasses import dataclass

from model_types.base import Tell

# Decoded before the continuation and cut off again: some tokenizers drop the space that a text begins with.
CONTEXT_TOKENS = 6


@dataclass(slots=True, eq=False)
class Row:
    """A continuation to be written.

    `cancelled` and `tell` are set by another thread while the batch runs, and read at every token. Where
    `is_stripped`, the text follows on `beginning` and has no blanks at its ends.
    """

    ids: list[int]
    max_new_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    repetition_penalty: float = 1.0
    seed: int = 0
    stop: tuple[str, ...] = ()
    cancelled: bool = False
    tell: Tell | None = None
    beginning: str = ""
    is_stripped: bool = False

    @property
    def greedy(self) -> bool:
        """Whether it always takes the likeliest token."""
        return self.temperature == 0 or self.top_k == 1

    @property
    def takes_scores_as_they_are(self) -> bool:
        """Whether it needs no sampling at all."""
        return self.greedy and self.repetition_penalty == 1

    @property
    def context(self) -> list[int]:
        """The prompt's last tokens, to be decoded before what follows them."""
        return self.ids[-CONTEXT_TOKENS:]

    @property
    def size(self) -> int:
        """How many tokens it may come to, read and written."""
        return len(self.ids) + self.max_new_tokens
