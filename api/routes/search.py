"""One search for everything."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request

from api.access import Visitor
from api.gateway import gateway_of
from api.routes.models import MAX_QUERY_LENGTH, documents
from api.schemas import collections as wire
from api.schemas.fields import PlainText
from api.services import models

router = APIRouter(tags=["search"])


@router.get("/v1/search")
async def search(
    request: Request,
    principal: Visitor,
    query: Annotated[PlainText, Query(max_length=MAX_QUERY_LENGTH)],
    limit: Annotated[int, Query(ge=1, le=50)] = 20,
) -> wire.Findings:
    """The models, the best first, and the collections that have all words of the query."""
    gateway = gateway_of(request)
    matches = await models.search(gateway, principal, query, limit=limit)
    shown = await documents(request, [match.found for match in matches])
    collections = [wire.Collection.of(info) for info in await models.types(gateway, principal)]
    words = query.lower().split()
    return wire.Findings(
        query=query,
        models=[wire.FoundModel.of(model, match.score) for model, match in zip(shown, matches, strict=True)],
        collections=[one for one in collections if _holds(one, words)],
    )


def _holds(collection: wire.Collection, words: list[str]) -> bool:
    text = f"{collection.slug} {collection.name} {collection.description}".lower()
    return all(word in text for word in words)
