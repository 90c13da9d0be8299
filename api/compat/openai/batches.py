"""Batches: files of requests that wait for idle lanes, as OpenAI's Batch API has them."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

from fastapi import APIRouter, Request

from api.access import Creator, Reader
from api.compat.openai.schemas.batches import PREFIX, Batch, BatchList, BatchRequest
from api.gateway import gateway_of
from api.pages import MAX_LIMIT, AfterQuery, LimitQuery, listed, page
from api.services import batches

router = APIRouter(prefix="/v1/batches", tags=["openai"])


@router.post("")
async def create(request: Request, principal: Creator, body: BatchRequest) -> Batch:
    """Have the requests in a file done within a day, after all that is more urgent."""
    expiry = body.output_expires_after
    row = await batches.create(
        gateway_of(request),
        principal,
        input_file_id=body.input_file_id,
        endpoint=body.endpoint,
        metadata=body.metadata,
        output_seconds=expiry.seconds if expiry else None,
    )
    return Batch.of(row)


@router.get("", response_model=BatchList)
async def browse(
    request: Request, principal: Reader, after: AfterQuery, limit: LimitQuery = MAX_LIMIT
) -> dict[str, Any]:
    """One's own batches, the newest first."""
    rows = await batches.browse(gateway_of(request), principal, limit=limit, cursor=after)
    shown = page(request, rows, limit=limit, cursor=after, key=attrgetter("id"))
    return listed(shown["results"], Batch.of, has_more=len(rows) > limit)


@router.get("/{batch_id}")
async def get(request: Request, principal: Reader, batch_id: str) -> Batch:
    """How far a batch of one's own has come."""
    return Batch.of(await batches.get(gateway_of(request), principal, _inner(batch_id)))


@router.post("/{batch_id}/cancel")
async def cancel(request: Request, principal: Creator, batch_id: str) -> Batch:
    """End a batch with the answers that there are."""
    return Batch.of(await batches.cancel(gateway_of(request), principal, _inner(batch_id)))


def _inner(batch_id: str) -> str:
    """The id without what OpenAI's ids begin with; what begins otherwise is no batch's."""
    return batch_id.removeprefix(PREFIX) if batch_id.startswith(PREFIX) else ""
