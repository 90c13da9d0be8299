"""Embeddings on the wire."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, cast

from pydantic import BaseModel, BeforeValidator, Field, JsonValue

from api.compat.openai.schemas.fields import OpenAIRequest, ReadUsage

TokenIds = list[int]
Inputs = list[str] | list[TokenIds]


def _inputs(value: JsonValue) -> Inputs:
    """Several inputs, also where there is one. Said in one sentence, not in one for each alternative."""
    given = value if isinstance(value, list) and not _is_all(int, value) else [value]
    are_ids = bool(given) and all(isinstance(item, list) and _is_all(int, item) for item in given)
    if not (are_ids or _is_all(str, given)) or "" in given:
        raise ValueError("must be a text, texts, token ids or lists of token ids, and none of them empty")
    return cast(Inputs, given)


def _is_all(kind: type, items: Sequence[JsonValue]) -> bool:
    return bool(items) and all(type(item) is kind for item in items)


class EmbeddingRequest(OpenAIRequest):
    """The body of POST /v1/embeddings."""

    input: Annotated[
        Inputs, BeforeValidator(_inputs, json_schema_input_type=str | list[str] | TokenIds | list[TokenIds])
    ] = Field(description="A text, or several; each as it is, or as the ids of its tokens.")
    encoding_format: Literal["float", "base64"] = Field(
        "float", description="Numbers, or the base64 of little-endian float32."
    )
    dimensions: int | None = Field(None, description="Keep so many of a vector's first numbers.")


class Embedding(BaseModel):
    """The vector of the text at this place."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class EmbeddingList(BaseModel):
    """The texts' vectors, in their order."""

    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: ReadUsage
