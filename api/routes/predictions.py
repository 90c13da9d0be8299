"""Predictions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from operator import itemgetter
from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response

from api.access import Creator, Reader
from api.auth import authenticate
from api.credentials import Principal
from api.errors import Invalid
from api.gateway import gateway_of
from api.limits import RouteClass, limit
from api.pages import MAX_LIMIT, CursorQuery, LimitQuery, page
from api.schemas.predictions import CREATE_SCHEMA, Prediction, PredictionCreate, PredictionPage
from api.services import predictions
from api.services.inputs import Upload
from api.urls import base_url
from db.documents import PredictionRecord, prediction_document
from db.states import Status

router = APIRouter(prefix="/v1/predictions", tags=["predictions"])

_decoder = msgspec.json.Decoder(PredictionCreate)
_encoder = msgspec.json.Encoder()
_MISSING = re.compile(r"missing required field `(\w+)`")
_UNKNOWN = re.compile(r"contains unknown field `([^`]*)`")
_AT = re.compile(r" - at `\$\.?([^`[]*)[^`]*`$")
_WAIT = re.compile(r'(?:^|[,;\s])wait(?:\s*=\s*"?(\d{1,6})"?)?(?:$|[,;\s])', re.IGNORECASE)


# How creating a prediction is described, in whichever form it is asked for.
CREATED: dict[int | str, dict[str, Any]] = {
    201: {"model": Prediction, "description": "Accepted; with `Prefer: wait`, ended."},
    202: {"model": Prediction, "description": "`Prefer: wait` has run out; it goes on."},
}
HEADERS: list[dict[str, Any]] = [
    {
        "name": "Prefer",
        "in": "header",
        "schema": {"type": "string"},
        "description": "`wait` or `wait=N`: hold the answer for up to N seconds, until it has ended.",
    },
    {
        "name": "Idempotency-Key",
        "in": "header",
        "schema": {"type": "string"},
        "description": "The same key gives the same prediction, also after it has ended.",
    },
]


# Read by hand, and reached by api.shortcut: this route sets the pace of the gateway.
@router.post(
    "",
    status_code=201,
    responses=CREATED,
    openapi_extra={
        "requestBody": {"required": True, "content": {"application/json": {"schema": CREATE_SCHEMA}}},
        "parameters": HEADERS,
        "security": [{"HTTPBearer": []}],
    },
)
async def create(request: Request) -> Response:
    """Ask for a prediction. It is durable when this answers; a worker will run it."""
    principal = await authenticate(request)
    await limit(request, principal, RouteClass.CREATE)
    return await created(request, principal, read_body(await request.body()))


async def created(
    request: Request, principal: Principal, body: PredictionCreate, uploads: Sequence[Upload] = ()
) -> Response:
    """Create a prediction as the request's headers say, and answer with it."""
    gateway = gateway_of(request)
    wait_seconds = _wait_seconds(request, gateway.settings.wait_seconds_max)
    key = request.headers.get("idempotency-key")
    record = await predictions.create(
        gateway, principal, body, uploads=uploads, key=key, wait_seconds=wait_seconds
    )
    status = 202 if wait_seconds and record.completed_at is None else 201
    if status == 202:
        # Clients of Replicate take any other word for the end.
        record = replace(record, status=Status.STARTING, started_at=None)
    document = _document(request, record)
    headers = {"location": document["urls"]["get"]}
    if wait_seconds:
        headers["preference-applied"] = f"wait={wait_seconds:g}"
    return Response(_encoder.encode(document), status, headers, media_type="application/json")


@router.get("", response_model=PredictionPage)
async def browse(
    request: Request, principal: Reader, cursor: CursorQuery, limit: LimitQuery = MAX_LIMIT
) -> Response:
    """One's own predictions, the newest first; everybody's for administrators."""
    records = await predictions.browse(gateway_of(request), principal, limit=limit, cursor=cursor)
    documents = [_document(request, record) for record in records]
    answer = page(request, documents, limit=limit, cursor=cursor, key=itemgetter("id"))
    return Response(_encoder.encode(answer), media_type="application/json")


@router.get("/{prediction_id}", response_model=Prediction)
async def get(request: Request, principal: Reader, prediction_id: str) -> Response:
    """A prediction as it is now."""
    record = await predictions.get(gateway_of(request), principal, prediction_id)
    return _answer(request, record)


@router.post("/{prediction_id}/cancel", response_model=Prediction)
async def cancel(request: Request, principal: Creator, prediction_id: str) -> Response:
    """Cancel a prediction, waiting or running. One that has ended is answered as it is."""
    record = await predictions.cancel(gateway_of(request), principal, prediction_id)
    return _answer(request, record)


def read_body(body: bytes) -> PredictionCreate:
    """What a client asks for. Raises `Invalid`."""
    try:
        return _decoder.decode(body)
    except msgspec.ValidationError as error:
        raise Invalid([_field_error(str(error))]) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid([("body", f"is not JSON: {error}")]) from None


def _field_error(message: str) -> tuple[str, str]:
    """msgspec's sentence as a field's name and what is wrong with it."""
    missing, unknown, at = _MISSING.search(message), _UNKNOWN.search(message), _AT.search(message)
    if missing:
        return missing[1], "is required"
    if unknown:
        return unknown[1], "is not a known field"
    sentence = _AT.sub("", message)
    sentence = sentence[:1].lower() + sentence[1:]
    return (at[1] if at and at[1] else "body"), f"is wrong: {sentence}"


def _wait_seconds(request: Request, most: float) -> float | None:
    """How long `Prefer` asks to wait (RFC 7240), as far as the server lets it; None when it does not ask."""
    asked = _WAIT.search(",".join(request.headers.getlist("prefer")))
    if asked is None:
        return None
    return min(float(asked[1]), most) if asked[1] else most


def _answer(request: Request, record: PredictionRecord) -> Response:
    return Response(_encoder.encode(_document(request, record)), media_type="application/json")


def _document(request: Request, record: PredictionRecord) -> dict[str, Any]:
    gateway = gateway_of(request)
    return prediction_document(
        record, base_url=base_url(request), blob_urls=gateway.blob_urls, stream_urls=gateway.stream_urls
    )
