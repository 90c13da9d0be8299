"""Reranking on the wire, which is Cohere's and Jina's: OpenAI has none."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from api.compat.openai.schemas.fields import OpenAIRequest, ReadUsage


class RerankRequest(OpenAIRequest):
    """The body of POST /v1/rerank."""

    query: str
    documents: list[str | dict[str, Any]] = Field(description="Texts, or objects with a `text`.")
    top_n: int | None = Field(None, description="How many of the best to give; all if left out.")
    return_documents: bool | None = None


class RerankResult(BaseModel):
    """A document's place in the request, and how well it answers the query."""

    index: int
    relevance_score: float
    document: dict[str, Any] | None = None


class Reranking(BaseModel):
    """The best documents, the best one first. `id` is `rerank-` and the prediction."""

    id: str
    model: str
    results: list[RerankResult]
    usage: ReadUsage
