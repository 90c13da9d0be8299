"""Reranking, in the shape that Cohere and Jina share."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter, Request, Response

from api.compat.openai.operations import Input, Operation
from api.compat.openai.requests import admitted, described
from api.compat.openai.running import call, read_usage_of
from api.compat.openai.schemas.rerank import Reranking, RerankRequest, RerankResult
from api.services.versions import ResolvedVersion
from db.documents import PredictionRecord

router = APIRouter(tags=["openai"])

PATH = "/v1/rerank"
MODEL_TYPES = ("rerank",)


@router.post(PATH, response_model=Reranking, openapi_extra=described(RerankRequest))
async def create(request: Request) -> Response:
    """Order documents by how well they answer a query; also at `/rerank`."""
    principal, body = await admitted(request, RerankRequest)
    asked = await call(request, principal, body.model, MODEL_TYPES, {})
    answer = _answer(body, asked.version, await asked.run(_inputs(body, asked.version)))
    return Response(answer, media_type="application/json")


def _inputs(body: RerankRequest, _: ResolvedVersion) -> list[Input]:
    given = {"query", "documents", "top_n", "return_documents"}
    return [body.model_dump(include=given, exclude_none=True)]


def _answer(body: RerankRequest, _: ResolvedVersion, records: Sequence[PredictionRecord]) -> str:
    (record,) = records
    answer = Reranking(
        id=f"rerank-{record.id}",
        model=body.model,
        results=[RerankResult(**ranked) for ranked in record.output],
        usage=read_usage_of([record]),
    )
    return answer.model_dump_json(exclude_none=True)


OPERATION = Operation(PATH, RerankRequest, MODEL_TYPES, lambda _: {}, _inputs, _answer)
