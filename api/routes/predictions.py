"""Predictions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from operator import itemgetter
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Query, Request, Response
from starlette.background import BackgroundTask

from api.access import Creator, Reader
from api.auth import authenticate, credential_of
from api.credentials import Principal
from api.errors import Invalid
from api.gateway import gateway_of
from api.limits import RouteClass, limit
from api.pages import MAX_LIMIT, CursorQuery, LimitQuery, page
from api.places import Place
from api.preferences import Hold, cancel_after, hold
from api.schemas.predictions import (
    CREATE_OF_MODEL_SCHEMA,
    CREATE_SCHEMA,
    Prediction,
    PredictionCreate,
    PredictionPage,
    Source,
)
from api.services import outputs, predictions
from api.services.inputs import Upload
from api.services.retries import answered, attempt_of
from api.services.submitting import Terms, Via
from api.urls import base_url
from db.documents import PredictionRecord, iso, prediction_document
from db.repositories.predictions import Filters
from db.states import Status

router = APIRouter(tags=["predictions"])

_decoder = msgspec.json.Decoder(PredictionCreate)
_encoder = msgspec.json.Encoder()
_MISSING = re.compile(r"missing required field `(\w+)`")
_UNKNOWN = re.compile(r"contains unknown field `([^`]*)`")
_AT = re.compile(r" - at `\$\.?([^`[]*)[^`]*`$")
OUTPUT_HEADER = "X-Augury-Output"
REDACTED = b"[redacted]"
PATH = "/v1/predictions"


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
    {
        "name": "Cancel-After",
        "in": "header",
        "schema": {"type": "string", "examples": ["30", "30s", "5m", "1h30m45s"]},
        "description": "Cancel it unless it has ended by then; five seconds at least.",
    },
    {
        "name": OUTPUT_HEADER,
        "in": "header",
        "schema": {"type": "string", "enum": ["url", "data"]},
        "description": "How the output shows its files: by URLs, or in `data:` URIs where they are small.",
    },
]


def described(schema: dict[str, Any]) -> dict[str, Any]:
    """What FastAPI is told of a route that reads such a body by hand."""
    return {
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "parameters": HEADERS,
        "security": [{"HTTPBearer": []}],
    }


# Read by hand, and reached by api.shortcut: this route sets the pace of the gateway.
@router.post(PATH, status_code=201, responses=CREATED, openapi_extra=described(CREATE_SCHEMA))
async def create(request: Request) -> Response:
    """Ask for a prediction. It is durable when this answers; a worker will run it."""
    principal = await authenticate(request)
    await limit(request, principal, RouteClass.CREATE)
    return await created(request, principal, read_body(request, await request.body()))


@router.post(
    "/v1/models/{owner}/{name}/predictions",
    status_code=201,
    responses=CREATED,
    openapi_extra=described(CREATE_OF_MODEL_SCHEMA),
)
async def create_of_model(request: Request, owner: str, name: str) -> Response:
    """Ask for a prediction of a model's latest version, or of the one that the body names."""
    principal = await authenticate(request)
    await limit(request, principal, RouteClass.CREATE)
    body = read_body(request, await request.body())
    given = next((field for field in ("model", "model_id") if getattr(body, field) is not None), None)
    if given is not None:
        raise Invalid([(given, "is said by the URL already")])
    model = f"{owner}/{name}"
    version = await predictions.version_of(gateway_of(request), principal, model, body.version)
    return await created(request, principal, msgspec.structs.replace(body, version=version))


@router.put(
    PATH + "/{prediction_id}", status_code=201, responses=CREATED, openapi_extra=described(CREATE_SCHEMA)
)
async def put(request: Request, prediction_id: str) -> Response:
    """Ask for a prediction by an id of one's own: the same id stands for the same prediction from then on."""
    principal = await authenticate(request)
    await limit(request, principal, RouteClass.CREATE)
    key = predictions.key_of(prediction_id)
    return await created(request, principal, read_body(request, await request.body()), key=key)


async def created(
    request: Request,
    principal: Principal,
    body: PredictionCreate,
    uploads: Sequence[Upload] = (),
    *,
    key: str | None = None,
    via: Via | None = None,
) -> Response:
    """Create a prediction as the request's headers say, and answer with it.

    `key` is one instead of the Idempotency-Key; `via` is the deployment that it comes through.
    """
    gateway = gateway_of(request)
    held = hold(request.headers, gateway.settings.wait_seconds_max) if "prefer" in request.headers else None
    terms = _terms(request, body, held, uploads, key, via)
    record = await predictions.create(gateway, principal, body, terms)
    status = 202 if held and record.completed_at is None else 201
    if status == 202:
        # Clients of Replicate take any other word for the end.
        record = msgspec.structs.replace(
            record, status=Status.STARTING, started_at=None, output=None, rank=None
        )
    (record,) = await _with_files(request, [record])
    document = _document(request, record)
    headers = {"location": document["urls"]["get"]}
    if held:
        headers["preference-applied"] = held.applied
    response = Response(_encoder.encode(document), status, headers, media_type="application/json")
    if terms.attempt is not None and not await request.is_disconnected():
        response.background = BackgroundTask(answered, gateway.engine, principal.id, terms.attempt)
    return response


def _terms(
    request: Request,
    body: PredictionCreate,
    held: Hold | None,
    uploads: Sequence[Upload],
    key: str | None,
    via: Via | None,
) -> Terms:
    # One look for headers that most requests lack.
    given = dict(request.headers.raw)
    if key is None and b"idempotency-key" in given:
        key = given[b"idempotency-key"].decode("latin-1")
    counts = b"x-stainless-retry-count" in given and key is None and not uploads
    return Terms(
        key=key,
        attempt=attempt_of(request.headers, body) if counts else None,
        hold_seconds=held.seconds if held else None,
        cancel_after=cancel_after(request.headers) if b"cancel-after" in given else None,
        uploads=uploads,
        via=via,
    )


def parse_filters(
    created_after: Annotated[datetime | None, Query(description="From this time on (ISO 8601).")] = None,
    created_before: Annotated[datetime | None, Query(description="Before this time (ISO 8601).")] = None,
    source: Source | None = None,
) -> Filters:
    """What a list of predictions is to hold. Times without a zone are in UTC."""
    return Filters(source=source, created_after=_aware(created_after), created_before=_aware(created_before))


def _aware(moment: datetime | None) -> datetime | None:
    return moment if moment is None or moment.tzinfo else moment.replace(tzinfo=UTC)


@router.get(PATH, response_model=PredictionPage)
async def browse(
    request: Request,
    principal: Reader,
    filters: Annotated[Filters, Depends(parse_filters)],
    cursor: CursorQuery,
    limit: LimitQuery = MAX_LIMIT,
) -> Response:
    """One's own predictions, the newest first; everybody's for administrators."""
    records = await predictions.browse(gateway_of(request), principal, filters, limit=limit, cursor=cursor)
    await _refresh_places(request, records)
    documents = [_document(request, record) for record in await _with_files(request, records)]
    answer = page(request, documents, limit=limit, cursor=cursor, key=itemgetter("id"))
    return Response(_encoder.encode(answer), media_type="application/json")


@router.get(PATH + "/{prediction_id}", response_model=Prediction)
async def get(request: Request, principal: Reader, prediction_id: str) -> Response:
    """A prediction as it is now."""
    record = await predictions.get(gateway_of(request), principal, prediction_id)
    await _refresh_places(request, [record])
    return await _answer(request, record)


@router.post(PATH + "/{prediction_id}/cancel", response_model=Prediction)
async def cancel(request: Request, principal: Creator, prediction_id: str) -> Response:
    """Cancel a prediction, waiting or running. One that has ended is answered as it is."""
    record = await predictions.cancel(gateway_of(request), principal, prediction_id)
    return await _answer(request, record)


def read_body(request: Request, body: bytes) -> PredictionCreate:
    """What a client asks for, without the token that it calls with. Raises `Invalid`."""
    # Some send theirs along as input, where it would be stored and shown.
    body = body.replace(credential_of(request).encode(), REDACTED)
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


async def _answer(request: Request, record: PredictionRecord) -> Response:
    (record,) = await _with_files(request, [record])
    return Response(_encoder.encode(_document(request, record)), media_type="application/json")


async def _refresh_places(request: Request, records: Sequence[PredictionRecord]) -> None:
    if any(record.rank is not None for record in records):
        await gateway_of(request).backlog.refresh()


async def _with_files(request: Request, records: Sequence[PredictionRecord]) -> Sequence[PredictionRecord]:
    """The records with their outputs' files in them, where the request or else the settings ask for that."""
    gateway = gateway_of(request)
    if request.headers.get(OUTPUT_HEADER, gateway.settings.output_files) != "data":
        return records
    return await outputs.with_data(gateway.blobs, records)


def _document(request: Request, record: PredictionRecord) -> dict[str, Any]:
    gateway = gateway_of(request)
    document = prediction_document(
        record, base_url=base_url(request), blob_urls=gateway.blob_urls, stream_urls=gateway.stream_urls
    )
    if record.rank is not None and record.pool is not None:
        document |= _place(gateway.backlog.places.of(record.pool, record.rank))
    return document


def _place(place: Place | None) -> dict[str, Any]:
    if place is None:
        return {}
    return {"queue_position": place.ahead, "estimated_start": iso(place.estimated_start)}
