"""Models and their versions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response, status

from api.access import Administrator, Creator, Visitor
from api.gateway import gateway_of
from api.pages import MAX_LIMIT, CursorQuery, LimitQuery, Page, page
from api.schemas import models as wire
from api.services import models, residency
from db.repositories.models import ModelRow
from db.tables import ModelVersion

router = APIRouter(prefix="/v1/models", tags=["models"])


def _id(row: wire.Model | wire.Version) -> str:
    return row.id


async def _models(request: Request, found: Sequence[ModelRow]) -> list[wire.Model]:
    states = await residency.residencies(gateway_of(request), [latest for _, latest in found])
    return [wire.Model.of(rows, states[rows[1].id], request) for rows in found]


async def _model(request: Request, rows: ModelRow) -> wire.Model:
    return (await _models(request, [rows]))[0]


async def _versions(request: Request, found: Sequence[ModelVersion]) -> list[wire.Version]:
    states = await residency.residencies(gateway_of(request), found)
    return [wire.Version.of(row, states[row.id]) for row in found]


@router.post("", status_code=status.HTTP_201_CREATED)
async def create(
    request: Request, response: Response, principal: Creator, body: wire.ModelCreate
) -> wire.Model:
    """Register a model, or a new version of one. 200 when this very version is there already."""
    rows, is_new = await models.register(gateway_of(request), principal, body)
    if not is_new:
        response.status_code = status.HTTP_200_OK
    return await _model(request, rows)


@router.get("", response_model=wire.ModelPage)
async def browse(
    request: Request, principal: Visitor, cursor: CursorQuery, limit: LimitQuery = MAX_LIMIT
) -> Page:
    """The public models and one's own, the newest first."""
    rows = await models.browse(gateway_of(request), principal, limit=limit, cursor=cursor)
    return page(request, await _models(request, rows), limit=limit, cursor=cursor, key=_id)


async def _by_id(request: Request, principal: Visitor, model_id: str) -> ModelRow:
    return await models.by_id(gateway_of(request), principal, model_id)


async def _by_name(request: Request, principal: Visitor, owner: str, name: str) -> ModelRow:
    return await models.by_name(gateway_of(request), principal, owner, name)


ById = Annotated[ModelRow, Depends(_by_id)]
ByName = Annotated[ModelRow, Depends(_by_name)]


@router.get("/{model_id}")
async def get(request: Request, rows: ById) -> wire.Model:
    """A model by its id."""
    return await _model(request, rows)


@router.get("/{owner}/{name}")
async def get_by_name(request: Request, rows: ByName) -> wire.Model:
    """A model by its name, in any case."""
    return await _model(request, rows)


@router.patch("/{model_id}")
async def change(request: Request, principal: Creator, rows: ById, body: wire.ModelPatch) -> wire.Model:
    """Change a model's description, visibility or links; its owner and administrators may."""
    await models.change(gateway_of(request), principal, rows[0], body)
    return await _model(request, await models.by_id(gateway_of(request), principal, rows[0].id))


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
    return page(request, await _versions(request, found), limit=limit, cursor=cursor, key=_id)


@router.get("/{owner}/{name}/versions/{version}")
async def version(request: Request, principal: Visitor, owner: str, name: str, version: str) -> wire.Version:
    """A version by its id or its label."""
    found = await models.version(gateway_of(request), principal, owner, name, version)
    return (await _versions(request, [found]))[0]


async def _ordered(
    request: Request, principal: Administrator, rows: ByName, body: wire.LoadOrder | wire.UnloadOrder
) -> ModelVersion:
    """The version that an order means: the latest unless it says otherwise."""
    model, latest = rows
    if body.version is None:
        return latest
    return await models.version(gateway_of(request), principal, model.owner, model.name, body.version)


@router.post("/{owner}/{name}/load", status_code=status.HTTP_202_ACCEPTED)
async def load(
    request: Request, principal: Administrator, rows: ByName, body: wire.LoadOrder | None = None
) -> wire.State:
    """Have lanes load a version, as soon as they are at rest, before anybody asks for it."""
    body = body or wire.LoadOrder(version=None, lanes=1)
    version = await _ordered(request, principal, rows, body)
    return wire.State.of(await residency.load(gateway_of(request), version, lanes=body.lanes))


@router.post("/{owner}/{name}/unload", status_code=status.HTTP_202_ACCEPTED)
async def unload(
    request: Request, principal: Administrator, rows: ByName, body: wire.UnloadOrder | None = None
) -> wire.State:
    """Have every lane let go of a version, when it is at rest. The next prediction loads it again."""
    version = await _ordered(request, principal, rows, body or wire.UnloadOrder(version=None))
    return wire.State.of(await residency.unload(gateway_of(request), version))
