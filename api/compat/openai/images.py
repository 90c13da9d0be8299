"""Images out of texts: a prediction each, which a lane draws together."""

from __future__ import annotations

import asyncio
from base64 import b64encode

from fastapi import APIRouter, Request, Response

from api.compat.openai.requests import admitted, described
from api.compat.openai.running import Call, call
from api.compat.openai.schemas.images import Image, ImageList, ImageRequest
from api.urls import base_url
from db.blob_urls import replaced
from db.documents import PredictionRecord

router = APIRouter(tags=["openai"])

PATH = "/v1/images/generations"
PARAMETERS = {"width": "size", "height": "size", "output_quality": "output_compression"}


@router.post(PATH, response_model=ImageList, openapi_extra=described(ImageRequest))
async def create(request: Request) -> Response:
    """Draw images, as OpenAI's API does."""
    principal, body = await admitted(request, ImageRequest)
    asked = await call(request, principal, body.model, ("text-to-image",), PARAMETERS)
    records = await asked.run([body.input(number) for number in range(body.n or 1)])
    shown = _contents if body.response_format == "b64_json" else _urls
    data = [image for record in records for image in await shown(asked, record)]
    answer = ImageList(created=int(records[0].created_at.timestamp()), data=data)
    return Response(answer.model_dump_json(exclude_none=True), media_type="application/json")


async def _urls(asked: Call, record: PredictionRecord) -> list[Image]:
    base = base_url(asked.request)
    urls = asked.gateway.blob_urls.rendered(record.output, "predictions", record.id, base_url=base)
    return [Image(url=url) for url in urls]


async def _contents(asked: Call, record: PredictionRecord) -> list[Image]:
    def content(key: str) -> str:
        return b64encode(asked.gateway.blobs.read(key)).decode()

    contents = await asyncio.to_thread(replaced, record.output, "predictions", record.id, content)
    return [Image(b64_json=content) for content in contents]
