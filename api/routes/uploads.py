"""Predictions whose files come beside their JSON, as parts of the same request."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from starlette.datastructures import FormData, UploadFile

from api.auth import authenticate
from api.errors import Invalid
from api.gateway import gateway_of
from api.limits import RouteClass, limit
from api.routes.predictions import CREATED, HEADERS, created, read_body
from api.schemas.predictions import CREATE_SCHEMA, PredictionCreate
from api.services.inputs import Upload
from model_types.media.limits import readable_bytes

router = APIRouter(prefix="/v1/predictions", tags=["predictions"])

JSON_PART = "prediction"
MAX_FILES = 64
_SCHEMA = {
    "type": "object",
    "required": [JSON_PART],
    "properties": {JSON_PART: CREATE_SCHEMA},
    "additionalProperties": {
        "type": "string",
        "format": "binary",
        "description": "A file for the input's field of this name; several for one that takes a list.",
    },
}


@router.post(
    "/multipart",
    status_code=201,
    responses=CREATED,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {
                    "schema": _SCHEMA,
                    "encoding": {JSON_PART: {"contentType": "application/json"}},
                }
            },
        },
        "parameters": HEADERS,
        "security": [{"HTTPBearer": []}],
    },
)
async def create(request: Request) -> Response:
    """Ask for a prediction, and send its files along: `prediction` is the JSON, other parts are files.

    A part is called like the input's field that it is for, with or without `input.` before it.
    """
    principal = await authenticate(request)
    await limit(request, principal, RouteClass.CREATE)
    settings = gateway_of(request).settings
    form = request.form(max_files=MAX_FILES, max_fields=MAX_FILES, max_part_size=settings.body_limit_bytes)
    async with form as parts:
        body = await _json_of(request, parts)
        uploads = await _uploads_of(parts, settings.media_limits.most_bytes)
    return await created(request, principal, body, uploads)


async def _json_of(request: Request, parts: FormData) -> PredictionCreate:
    given = parts.getlist(JSON_PART)
    if len(given) != 1:
        raise Invalid([(JSON_PART, "is required, once: the part with the JSON")])
    part = given[0]
    return read_body(request, await part.read() if isinstance(part, UploadFile) else part.encode())


async def _uploads_of(parts: FormData, max_bytes: int) -> list[Upload]:
    uploads = []
    for name, part in parts.multi_items():
        if name == JSON_PART:
            continue
        if not isinstance(part, UploadFile):
            raise Invalid([(name, f"must be a file: what is text belongs into the part {JSON_PART}")])
        field = name.removeprefix("input.")
        if (part.size or 0) > max_bytes:
            most = readable_bytes(max_bytes)
            raise Invalid([(f"input.{field}", f"is larger than {most}, which is the most")])
        uploads.append(Upload(field, await part.read()))
    return uploads
