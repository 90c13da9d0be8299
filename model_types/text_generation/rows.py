"""One row of a batch: a prompt's tokens with everything that is its own, so that rows can share a batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from model_types.base import Chunks, Tell

if TYPE_CHECKING:
    from llguidance import LLMatcher

# Decoded before the continuation and cut off again: some tokenizers drop the space that a text begins with.
CONTEXT_TOKENS = 6


@dataclass(slots=True, eq=False)
class Row:
    """A continuation to be written.

    `cancelled` and `tell` are set by another thread while the batch runs, and read at every token. Where
    `is_stripped`, the text follows on `beginning` and has no blanks at its ends. With `logprobs` it comes in
    pieces, which tell of as many of the likeliest tokens; with a `grammar` it is what that lets pass, from
    the beginning on. Afterwards `output_tokens`, with the token that ended the text, and `finish_reason` tell
    how it was written.
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
    logprobs: int | None = None
    grammar: LLMatcher | None = None
    output_tokens: int = 0
    finish_reason: Literal["stop", "length"] = "length"

    @property
    def greedy(self) -> bool:
        """Whether it always takes the likeliest token."""
        return self.temperature == 0 or self.top_k == 1

    @property
    def takes_scores_as_they_are(self) -> bool:
        """Whether its likeliest token is taken, whatever else there is."""
        return self.greedy and self.repetition_penalty == 1

    @property
    def chunks(self) -> Chunks:
        """How its text comes: as it is, or in pieces."""
        return "text" if self.logprobs is None else "items"

    @property
    def context(self) -> list[int]:
        """The prompt's last tokens, to be decoded before what follows them."""
        return self.ids[-CONTEXT_TOKENS:]

    @property
    def size(self) -> int:
        """How many tokens it may come to, read and written."""
        return self.input_tokens + self.max_new_tokens

    @property
    def input_tokens(self) -> int:
        """How many tokens are read."""
        return len(self.ids)

    @property
    def metrics(self) -> Mapping[str, float | str]:
        """What is told of it once it is written."""
        return {
            "input_token_count": self.input_tokens,
            "output_token_count": self.output_tokens,
            "finish_reason": self.finish_reason,
        }
