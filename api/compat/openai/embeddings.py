"""Embeddings: one prediction for all texts of a request that are not remembered."""

from __future__ import annotations

import base64
from collections.abc import Sequence

from fastapi import APIRouter, Request, Response

from api.compat.openai.requests import admitted, described
from api.compat.openai.running import Call, call, read_usage_of
from api.compat.openai.schemas.embeddings import Embedding, EmbeddingList, EmbeddingRequest
from api.compat.openai.schemas.fields import ReadUsage
from api.vector_cache import key_of, packed, unpacked

router = APIRouter(tags=["openai"])

PATH = "/v1/embeddings"
PARAMETERS = {"text": "input"}


@router.post(PATH, response_model=EmbeddingList, openapi_extra=described(EmbeddingRequest))
async def create(request: Request) -> Response:
    """Turn texts into vectors, as OpenAI's API does. Texts that are remembered cost no tokens."""
    principal, body = await admitted(request, EmbeddingRequest)
    asked = await call(request, principal, body.model, ("embeddings",), PARAMETERS)
    vectors, usage = await _embedded(asked, body.input, body.dimensions)
    is_packed = body.encoding_format == "base64"
    data = [
        Embedding(index=index, embedding=base64.b64encode(vector).decode() if is_packed else unpacked(vector))
        for index, vector in enumerate(vectors)
    ]
    answer = EmbeddingList(data=data, model=asked.model, usage=usage)
    return Response(answer.model_dump_json(), media_type="application/json")


async def _embedded(
    asked: Call, texts: Sequence[str], dimensions: int | None
) -> tuple[Sequence[bytes], ReadUsage]:
    """The texts' vectors, little-endian float32, and what those have cost that were not remembered."""
    cache = asked.gateway.vectors
    keys = [key_of(asked.version.version_id, dimensions, text) for text in texts]
    known = {key: vector for key in keys if (vector := cache.get(key)) is not None}
    missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
    if not missing:
        return [known[key] for key in keys], read_usage_of([])
    values = {"text": list(missing.values()), "dimensions": dimensions}
    (record,) = await asked.run([{name: value for name, value in values.items() if value is not None}])
    for key, vector in zip(missing, record.output, strict=True):
        known[key] = packed(vector)
        cache.put(key, known[key])
    return [known[key] for key in keys], read_usage_of([record])
