"""Deployments."""

from __future__ import annotations

import msgspec
from fastapi import APIRouter, Request, Response, status

from api.access import Creator, Reader
from api.auth import authenticate
from api.errors import Invalid
from api.gateway import gateway_of
from api.limits import RouteClass, limit
from api.pages import MAX_LIMIT, CursorQuery, LimitQuery, Page, page
from api.routes.predictions import CREATED, created, described, read_body
from api.schemas import deployments as wire
from api.services import deployments
from db.repositories.deployments import Release

router = APIRouter(prefix="/v1/deployments", tags=["deployments"])


def _id(release: Release) -> str:
    return release.deployment.id


# Replicate answers 200, and so do we.
@router.post("")
async def create(request: Request, principal: Creator, body: wire.DeploymentCreate) -> wire.Deployment:
    """Give a model's version a queue and lanes of its own."""
    return wire.Deployment.of(await deployments.create(gateway_of(request), principal, body))


@router.get("", response_model=wire.DeploymentPage)
async def browse(
    request: Request, principal: Reader, cursor: CursorQuery, limit: LimitQuery = MAX_LIMIT
) -> Page:
    """One's own deployments, the newest first; everybody's for administrators."""
    rows = await deployments.browse(gateway_of(request), principal, limit=limit, cursor=cursor)
    found = page(request, rows, limit=limit, cursor=cursor, key=_id)
    return {**found, "results": [wire.Deployment.of(release) for release in found["results"]]}


@router.get("/{owner}/{name}")
async def get(request: Request, principal: Reader, owner: str, name: str) -> wire.Deployment:
    """A deployment of one's own, and what it runs now."""
    return wire.Deployment.of(await deployments.get(gateway_of(request), principal, owner, name))


@router.patch("/{owner}/{name}")
async def change(
    request: Request, principal: Creator, owner: str, name: str, body: wire.DeploymentPatch
) -> wire.Deployment:
    """Make a new release: of another version, or with other instances."""
    return wire.Deployment.of(await deployments.change(gateway_of(request), principal, owner, name, body))


@router.delete("/{owner}/{name}", status_code=status.HTTP_204_NO_CONTENT)
async def delete(request: Request, principal: Creator, owner: str, name: str) -> None:
    """Delete a deployment. 409 while predictions of it wait or run."""
    await deployments.delete(gateway_of(request), principal, owner, name)


@router.post(
    "/{owner}/{name}/predictions",
    status_code=status.HTTP_201_CREATED,
    responses=CREATED,
    openapi_extra=described(wire.PREDICT_SCHEMA),
)
async def predict(request: Request, owner: str, name: str) -> Response:
    """Ask for a prediction of what the deployment runs now."""
    principal = await authenticate(request)
    await limit(request, principal, RouteClass.CREATE)
    body = read_body(request, await request.body())
    given = [field for field in ("version", "model", "model_id") if getattr(body, field) is not None]
    if given:
        raise Invalid([(field, "is the deployment's to say") for field in given])
    release = await deployments.get(gateway_of(request), principal, owner, name)
    body = msgspec.structs.replace(body, version=release.deployment.version_id)
    return await created(request, principal, body, via=deployments.via(release))
