"""Moderations on the wire."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from api.compat.openai.schemas.fields import MAX_CHOICES, OpenAIRequest, Texts


class ModerationRequest(OpenAIRequest):
    """The body of POST /v1/moderations."""

    input: Texts = Field(min_length=1, max_length=MAX_CHOICES, description="A text, or several.")


class Moderation(BaseModel):
    """What a text is, by category: whether it is flagged, how surely, and what was looked at."""

    flagged: bool
    categories: dict[str, bool]
    category_scores: dict[str, float]
    category_applied_input_types: dict[str, list[Literal["text"]]]


class ModerationList(BaseModel):
    """The texts' moderations, in their order. `id` is `modr-` and the first one's prediction."""

    id: str
    model: str
    results: list[Moderation]
