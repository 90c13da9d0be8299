"""Embeddings on the wire."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from api.compat.openai.schemas.fields import OpenAIRequest, ReadUsage, Texts


class EmbeddingRequest(OpenAIRequest):
    """The body of POST /v1/embeddings."""

    input: Texts = Field(min_length=1, description="A text, or several.")
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
