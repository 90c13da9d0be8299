"""What a prediction has written: its text, and its tokens where logprobs are asked for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from api.compat.openai.schemas.logprobs import ChatLogprobs, ChatToken, CompletionLogprobs


@dataclass(frozen=True, slots=True)
class Written:
    """A text or a piece of one; `tokens` are as in `model_types.text_generation.pieces`."""

    text: str
    tokens: Sequence[dict[str, Any]] | None = None

    @classmethod
    def of(cls, output: str | Sequence[dict[str, Any]]) -> Written:
        """What a prediction's output says: a text, or the list of its pieces."""
        if isinstance(output, str):
            return cls(output)
        tokens = [token for piece in output for token in piece["tokens"]]
        return cls("".join(piece["text"] for piece in output), tokens)

    @classmethod
    def told(cls, data: str, *, has_logprobs: bool) -> Written:
        """What a stream tells: a piece of a text, or the JSON of one with its tokens."""
        return cls.of([json.loads(data)] if has_logprobs else data)

    @property
    def chat_logprobs(self) -> ChatLogprobs | None:
        """The tokens as chats have them."""
        if self.tokens is None:
            return None
        return ChatLogprobs(content=[ChatToken.model_validate(token) for token in self.tokens])

    @property
    def completion_logprobs(self) -> CompletionLogprobs | None:
        """The tokens as completions have them."""
        if self.tokens is None:
            return None
        return CompletionLogprobs(
            tokens=[token["token"] for token in self.tokens],
            token_logprobs=[token["logprob"] for token in self.tokens],
            top_logprobs=[
                {each["token"]: each["logprob"] for each in (*token["top_logprobs"], token)}
                for token in self.tokens
            ],
            text_offset=[token["offset"] for token in self.tokens],
        )
