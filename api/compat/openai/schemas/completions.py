"""Completions of prompts on the wire."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from api.compat.openai.schemas.chat import FinishReason
from api.compat.openai.schemas.fields import MAX_CHOICES, AtMostOne, Off, Sampling, Texts, Unused, Usage
from api.compat.openai.schemas.logprobs import CompletionLogprobs
from model_types.text_generation.fields import TopLogprobs


class CompletionRequest(Sampling):
    """The body of POST /v1/completions."""

    prompt: Texts = Field(
        min_length=1,
        max_length=MAX_CHOICES,
        description="A text, or several: `n` choices for each, in their order.",
    )
    best_of: AtMostOne = None
    echo: Off = None
    logprobs: TopLogprobs | None = Field(
        None, description="Tell how likely each token was, and so many of the likeliest in its place."
    )
    suffix: Unused = None

    @property
    def alternatives(self) -> int | None:
        return self.logprobs


class CompletionChoice(BaseModel):
    """One of the continuations, or what is new of it."""

    index: int
    text: str
    logprobs: CompletionLogprobs | None = None
    finish_reason: FinishReason | None


class Completion(BaseModel):
    """The continuations of one or more prompts. `id` is `cmpl-` and the first one's prediction."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int = Field(description="Seconds since 1970.")
    model: str
    choices: list[CompletionChoice]
    usage: Usage | None = None
