"""What a text is made of when its logprobs are asked for: pieces, and the tokens behind each."""

from __future__ import annotations

from pydantic import BaseModel, Field


class Likelihood(BaseModel):
    """A token, and how likely it was in its place."""

    token: str = Field(description="As text; where it is a part of a character only, that part is \ufffd.")
    logprob: float = Field(
        description="The natural logarithm of its probability, as the model has it: before a temperature, a "
        "penalty or a schema."
    )
    bytes: list[int] = Field(description="The same in UTF-8.")


class TokenLogprob(Likelihood):
    """A token of the text."""

    offset: int = Field(description="Where it begins in the text, in characters.")
    top_logprobs: list[Likelihood] = Field(description="The likeliest tokens in its place, best first.")


class Piece(BaseModel):
    """A piece of a text. All pieces' texts, one after the other, are the text, and so with the tokens."""

    text: str
    tokens: list[TokenLogprob]


Text = str | list[Piece]
"""What a model writes: a text, or its pieces where logprobs are asked for."""
