"""Collections: the models of one type, for people who look for one that can do something."""

from __future__ import annotations

from fastapi import APIRouter, Request

from api.access import Visitor
from api.gateway import gateway_of
from api.pages import MAX_LIMIT
from api.routes.models import documents
from api.schemas import collections as wire
from api.services import models
from db.errors import NotFound

router = APIRouter(prefix="/v1/collections", tags=["collections"])


@router.get("")
async def browse(request: Request, principal: Visitor) -> wire.CollectionPage:
    """The collections that have a model which the caller may see."""
    found = await models.types(gateway_of(request), principal)
    return wire.CollectionPage(results=[wire.Collection.of(info) for info in found])


@router.get("/{slug}")
async def get(request: Request, principal: Visitor, slug: str) -> wire.FullCollection:
    """A collection and its models, the newest first."""
    gateway = gateway_of(request)
    info = next((info for info in await models.types(gateway, principal) if info.name == slug), None)
    if info is None:
        raise NotFound(f"there is no collection {slug!r}")
    found = await models.browse(gateway, principal, limit=MAX_LIMIT, model_type=info.name)
    return wire.FullCollection.of_models(info, await documents(request, found[:MAX_LIMIT]))
