"""Reranking, in the shape that Cohere and Jina share."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from api.compat.openai.requests import admitted, described
from api.compat.openai.running import call, read_usage_of
from api.compat.openai.schemas.rerank import Reranking, RerankRequest, RerankResult

router = APIRouter(tags=["openai"])

PATH = "/v1/rerank"


@router.post(PATH, response_model=Reranking, openapi_extra=described(RerankRequest))
async def create(request: Request) -> Response:
    """Order documents by how well they answer a query; also at `/rerank`."""
    principal, body = await admitted(request, RerankRequest)
    asked = await call(request, principal, body.model, ("rerank",), {})
    values = body.model_dump(include={"query", "documents", "top_n", "return_documents"}, exclude_none=True)
    (record,) = await asked.run([values])
    answer = Reranking(
        id=f"rerank-{record.id}",
        model=asked.model,
        results=[RerankResult(**ranked) for ranked in record.output],
        usage=read_usage_of([record]),
    )
    return Response(answer.model_dump_json(exclude_none=True), media_type="application/json")
