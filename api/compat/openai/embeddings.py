"""Embeddings: one prediction for all texts of a request that are not remembered."""

from __future__ import annotations

import base64
from collections.abc import Sequence

from fastapi import APIRouter, Request, Response

from api.compat.openai.operations import Input, Operation
from api.compat.openai.requests import admitted, described
from api.compat.openai.running import Call, call, read_usage_of
from api.compat.openai.schemas.embeddings import Embedding, EmbeddingList, EmbeddingRequest, TokenIds
from api.compat.openai.schemas.fields import ReadUsage
from api.services.versions import ResolvedVersion
from api.vector_cache import key_of, packed, unpacked
from db.documents import PredictionRecord

router = APIRouter(tags=["openai"])

PATH = "/v1/embeddings"
MODEL_TYPES = ("embeddings",)
PARAMETERS = {"text": "input"}


@router.post(PATH, response_model=EmbeddingList, openapi_extra=described(EmbeddingRequest))
async def create(request: Request) -> Response:
    """Turn texts into vectors, as OpenAI's API does. Texts that are remembered cost no tokens."""
    principal, body = await admitted(request, EmbeddingRequest)
    asked = await call(request, principal, body.model, MODEL_TYPES, PARAMETERS)
    vectors, usage = await _embedded(asked, body)
    return Response(_written(body, vectors, usage), media_type="application/json")


def _written(body: EmbeddingRequest, vectors: Sequence[bytes], usage: ReadUsage) -> str:
    is_packed = body.encoding_format == "base64"
    data = [
        Embedding(index=index, embedding=base64.b64encode(vector).decode() if is_packed else unpacked(vector))
        for index, vector in enumerate(vectors)
    ]
    return EmbeddingList(data=data, model=body.model, usage=usage).model_dump_json()


async def _embedded(asked: Call, body: EmbeddingRequest) -> tuple[Sequence[bytes], ReadUsage]:
    """The texts' vectors, little-endian float32, and what those have cost that were not remembered."""
    cache = asked.gateway.vectors
    keys = _keys(body, asked.version)
    known = {key: vector for key in keys if (vector := cache.get(key)) is not None}
    texts = _texts(body, keys)
    missing = {key: text for key, text in texts.items() if key not in known}
    if not missing:
        return [known[key] for key in keys], read_usage_of([])
    (record,) = await asked.run([_input(body, list(missing.values()))])
    for key, vector in zip(missing, record.output, strict=True):
        known[key] = packed(vector)
        cache.put(key, known[key])
    return [known[key] for key in keys], read_usage_of([record])


def _keys(body: EmbeddingRequest, version: ResolvedVersion) -> list[bytes]:
    return [key_of(version.version_id, body.dimensions, text) for text in body.input]


def _texts(body: EmbeddingRequest, keys: Sequence[bytes]) -> dict[bytes, str | TokenIds]:
    """Each text once."""
    return dict(zip(keys, body.input, strict=True))


def _input(body: EmbeddingRequest, texts: Sequence[str | TokenIds]) -> Input:
    values = {"text": texts, "dimensions": body.dimensions}
    return {name: value for name, value in values.items() if value is not None}


def _inputs(body: EmbeddingRequest, version: ResolvedVersion) -> list[Input]:
    return [_input(body, list(_texts(body, _keys(body, version)).values()))]


def _answer(body: EmbeddingRequest, version: ResolvedVersion, records: Sequence[PredictionRecord]) -> str:
    (record,) = records
    keys = _keys(body, version)
    vectors = dict(zip(dict.fromkeys(keys), map(packed, record.output), strict=True))
    return _written(body, [vectors[key] for key in keys], read_usage_of(records))


OPERATION = Operation(PATH, EmbeddingRequest, MODEL_TYPES, lambda _: PARAMETERS, _inputs, _answer)
