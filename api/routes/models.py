"""Models and their versions."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response, status

from api.access import Creator, Visitor
from api.gateway import gateway_of
from api.pages import MAX_LIMIT, CursorQuery, LimitQuery, Page, page
from api.schemas import models as wire
from api.services import models
from db.repositories.models import ModelRow

router = APIRouter(prefix="/v1/models", tags=["models"])


def _id(row: wire.Model | wire.Version) -> str:
    return row.id


@router.post("", status_code=status.HTTP_201_CREATED)
async def create(
    request: Request, response: Response, principal: Creator, body: wire.ModelCreate
) -> wire.Model:
    """Register a model, or a new version of one. 200 when this very version is there already."""
    rows, is_new = await models.register(gateway_of(request), principal, body)
    if not is_new:
        response.status_code = status.HTTP_200_OK
    return wire.Model.of(rows, request)


@router.get("", response_model=wire.ModelPage)
async def browse(
    request: Request, principal: Visitor, cursor: CursorQuery, limit: LimitQuery = MAX_LIMIT
) -> Page:
    """The public models and one's own, the newest first."""
    rows = await models.browse(gateway_of(request), principal, limit=limit, cursor=cursor)
    views = [wire.Model.of(row, request) for row in rows]
    return page(request, views, limit=limit, cursor=cursor, key=_id)


async def _by_id(request: Request, principal: Visitor, model_id: str) -> ModelRow:
    return await models.by_id(gateway_of(request), principal, model_id)


async def _by_name(request: Request, principal: Visitor, owner: str, name: str) -> ModelRow:
    return await models.by_name(gateway_of(request), principal, owner, name)


ById = Annotated[ModelRow, Depends(_by_id)]
ByName = Annotated[ModelRow, Depends(_by_name)]


@router.get("/{model_id}")
async def get(request: Request, rows: ById) -> wire.Model:
    """A model by its id."""
    return wire.Model.of(rows, request)


@router.get("/{owner}/{name}")
async def get_by_name(request: Request, rows: ByName) -> wire.Model:
    """A model by its name, in any case."""
    return wire.Model.of(rows, request)


@router.patch("/{model_id}")
async def change(request: Request, principal: Creator, rows: ById, body: wire.ModelPatch) -> wire.Model:
    """Change a model's description, visibility or links; its owner and administrators may."""
    await models.change(gateway_of(request), principal, rows[0], body)
    return wire.Model.of(await models.by_id(gateway_of(request), principal, rows[0].id), request)


@router.patch("/{owner}/{name}")
async def change_by_name(
    request: Request, principal: Creator, rows: ByName, body: wire.ModelPatch
) -> wire.Model:
    """Change a model's description, visibility or links; its owner and administrators may."""
    return await change(request, principal, rows, body)


@router.delete("/{model_id}", status_code=status.HTTP_204_NO_CONTENT)
async def delete(request: Request, principal: Creator, rows: ById) -> None:
    """Delete a model and its versions. 409 while predictions of it wait or run."""
    await models.delete(gateway_of(request), principal, rows[0])


@router.delete("/{owner}/{name}", status_code=status.HTTP_204_NO_CONTENT)
async def delete_by_name(request: Request, principal: Creator, rows: ByName) -> None:
    """Delete a model and its versions. 409 while predictions of it wait or run."""
    await models.delete(gateway_of(request), principal, rows[0])


@router.get("/{owner}/{name}/versions", response_model=wire.VersionPage)
async def versions(
    request: Request, rows: ByName, cursor: CursorQuery, limit: LimitQuery = MAX_LIMIT
) -> Page:
    """A model's versions, the newest first."""
    found = await models.versions(gateway_of(request), rows[0], limit=limit, cursor=cursor)
    views = [wire.Version.of(row) for row in found]
    return page(request, views, limit=limit, cursor=cursor, key=_id)


@router.get("/{owner}/{name}/versions/{version}")
async def version(request: Request, principal: Visitor, owner: str, name: str, version: str) -> wire.Version:
    """A version by its id or its label."""
    return wire.Version.of(await models.version(gateway_of(request), principal, owner, name, version))
