"""How likely tokens were, on the wire."""

from __future__ import annotations

from pydantic import BaseModel

from model_types.text_generation.pieces import Likelihood


class ChatToken(Likelihood):
    """A token of an answer, and the likeliest in its place."""

    top_logprobs: list[Likelihood]


class ChatLogprobs(BaseModel):
    """The tokens of an answer, or of what is new of it."""

    content: list[ChatToken]
    refusal: None = None


class CompletionLogprobs(BaseModel):
    """The tokens of a continuation, or of what is new of it: of each, one item in every list.

    `top_logprobs` have the token itself and the likeliest in its place; `text_offset` is where it begins, in
    characters of the continuation.
    """

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]
