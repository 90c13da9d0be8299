"""Models and their versions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response, status
from starlette.responses import PlainTextResponse

from api.access import Administrator, Creator, Visitor
from api.errors import Invalid
from api.gateway import gateway_of
from api.pages import MAX_LIMIT, CursorQuery, LimitQuery, Page, page
from api.schemas import models as wire
from api.schemas.predictions import PredictionPage
from api.services import examples, models, residency
from api.urls import base_url
from db.documents import prediction_document
from db.errors import NotFound
from db.repositories.models import FoundModel, Sort
from db.tables import ModelVersion

router = APIRouter(prefix="/v1/models", tags=["models"])

MAX_QUERY_LENGTH = 1000
SearchQuery = Annotated[str | None, Query(max_length=MAX_QUERY_LENGTH, description="Words to search for.")]


def _row_id(found: FoundModel) -> str:
    return found[0].id


def _id(row: wire.Version) -> str:
    return row.id


async def documents(request: Request, found: Sequence[FoundModel]) -> list[wire.Model]:
    """These models as clients see them."""
    gateway = gateway_of(request)
    states = await residency.residencies(gateway, [latest for _, latest in found if latest])
    shown = await _examples(request, found)
    return [
        wire.Model.of(
            (model, latest), states.get(latest.id) if latest else None, request, shown.get(model.id)
        )
        for model, latest in found
    ]


async def _examples(request: Request, found: Sequence[FoundModel]) -> dict[str, dict[str, Any]]:
    """The documents of the models' examples, by the models' ids."""
    gateway = gateway_of(request)
    records = await examples.of_models(gateway, [model for model, _ in found])
    return {
        model_id: prediction_document(
            record,
            base_url=base_url(request),
            blob_urls=gateway.blob_urls,
            stream_urls=gateway.stream_urls,
        )
        for model_id, record in records.items()
    }


async def _model(request: Request, found: FoundModel) -> wire.Model:
    return (await documents(request, [found]))[0]


async def _versions(request: Request, found: Sequence[ModelVersion]) -> list[wire.Version]:
    states = await residency.residencies(gateway_of(request), found)
    return [wire.Version.of(row, states[row.id]) for row in found]


@router.post("", status_code=status.HTTP_201_CREATED)
async def create(
    request: Request, response: Response, principal: Creator, body: wire.ModelCreate
) -> wire.Model:
    """Register a model, or a new version of one. 200 when this very version is there already."""
    found, is_new = await models.register(gateway_of(request), principal, body)
    if not is_new:
        response.status_code = status.HTTP_200_OK
    return await _model(request, found)


@router.get("", response_model=wire.ModelPage)
async def browse(
    request: Request,
    principal: Visitor,
    cursor: CursorQuery,
    query: SearchQuery = None,
    limit: LimitQuery = MAX_LIMIT,
    sort_by: Sort = "model_created_at",
    sort_direction: Literal["asc", "desc"] = "desc",
) -> dict[str, Any]:
    """The public models and one's own, the newest first. With `query`, one page of what fits best."""
    if query is not None:
        return await _found(request, principal, query, limit=limit)
    rows = await models.browse(
        gateway_of(request),
        principal,
        limit=limit,
        cursor=cursor,
        sort=sort_by,
        ascending=sort_direction == "asc",
    )
    found = page(request, rows, limit=limit, cursor=cursor, key=_row_id)
    return _both_ways({**found, "results": await documents(request, found["results"])})


@router.api_route("", methods=["QUERY"], response_model=wire.ModelPage, include_in_schema=False)
async def search(request: Request, principal: Visitor) -> dict[str, Any]:
    """One page of the models that fit the words of the body best."""
    return await _found(request, principal, _words(await request.body()), limit=MAX_LIMIT)


def _words(body: bytes) -> str:
    """What a body asks for: text as it is, or in JSON, as some of Replicate's clients send it."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise Invalid([("body", "is not UTF-8")]) from None
    try:
        quoted = json.loads(text)
    except (ValueError, RecursionError):
        quoted = None
    words = quoted if isinstance(quoted, str) else text
    if len(words) > MAX_QUERY_LENGTH or "\0" in words:
        raise Invalid([("body", f"must have at most {MAX_QUERY_LENGTH} characters, and no NUL")])
    return words


async def _found(request: Request, principal: Visitor, query: str, *, limit: int) -> dict[str, Any]:
    matches = await models.search(gateway_of(request), principal, query, limit=limit)
    results = await documents(request, [match.found for match in matches])
    return _both_ways({"results": results, "next": None, "previous": None})


def _both_ways(page: Page) -> dict[str, Any]:
    """A page as Replicate's clients and OpenAI's read it."""
    return {**page, "data": [wire.NamedModel.of(model) for model in page["results"]]}


async def _by_id(request: Request, principal: Visitor, model_id: str) -> FoundModel:
    return await models.by_id(gateway_of(request), principal, model_id)


async def _by_name(request: Request, principal: Visitor, owner: str, name: str) -> FoundModel:
    return await models.by_name(gateway_of(request), principal, owner, name)


ById = Annotated[FoundModel, Depends(_by_id)]
ByName = Annotated[FoundModel, Depends(_by_name)]


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
    """Change what a model tells of itself, or who sees it; its owner and administrators may."""
    await models.change(gateway_of(request), principal, rows[0], body)
    return await _model(request, await models.by_id(gateway_of(request), principal, rows[0].id))


@router.patch("/{owner}/{name}")
async def change_by_name(
    request: Request, principal: Creator, rows: ByName, body: wire.ModelPatch
) -> wire.Model:
    """Change what a model tells of itself, or who sees it; its owner and administrators may."""
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


@router.delete("/{owner}/{name}/versions/{version}", status_code=status.HTTP_204_NO_CONTENT)
async def delete_version(request: Request, principal: Creator, rows: ByName, version: str) -> None:
    """Delete a version by its id or its label. 409 while predictions of it wait or a deployment runs it."""
    model = rows[0]
    found = await models.version(gateway_of(request), principal, model.owner, model.name, version)
    await models.delete_version(gateway_of(request), principal, model, found.id)


@router.get("/{owner}/{name}/examples", response_model=PredictionPage)
async def browse_examples(request: Request, rows: ByName) -> Page:
    """What the model's owner has chosen to show what it does, as long as it has not expired."""
    shown = await _examples(request, [rows])
    return {"results": list(shown.values()), "next": None, "previous": None}


@router.get("/{owner}/{name}/readme", response_class=PlainTextResponse)
async def readme(rows: ByName) -> str:
    """The model's readme in Markdown. 404 where it has none."""
    model = rows[0]
    if not model.readme:
        raise NotFound(f"{model.owner}/{model.name} has no readme")
    return model.readme


async def _ordered(
    request: Request, principal: Administrator, rows: ByName, body: wire.LoadOrder | wire.UnloadOrder
) -> ModelVersion:
    """The version that an order means: the latest unless it says otherwise."""
    model, latest = rows
    if body.version is None:
        if latest is None:
            raise NotFound(f"{model.owner}/{model.name} has no version yet")
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
