"""Deployments: how they are made, found, changed and deleted. They are their owners' and nobody else's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from api.credentials import Principal
from api.errors import Forbidden, Invalid, Taken
from api.schemas.deployments import DeploymentCreate, DeploymentPatch
from api.services import predictions
from api.services.submitting import Via
from api.services.versions import ResolvedVersion
from db.errors import Conflict, NotFound
from db.ids import new_id
from db.pools import deployment_pool, model_type_of
from db.repositories import deployments
from db.repositories.deployments import NewDeployment, Release
from db.repositories.keyset import Cursor
from db.repositories.transactions import read, write
from db.tables import Deployment

if TYPE_CHECKING:
    from api.gateway import Gateway


class DeploymentInUse(Conflict):
    """Predictions of this deployment wait or run; it can be deleted when they are done."""


async def create(gateway: Gateway, principal: Principal, body: DeploymentCreate) -> Release:
    """Deploy a version. Raises `Forbidden`, `NotFound`, `Invalid` and `Taken`."""
    if gateway.settings.model_creation == "admins" and not principal.is_admin:
        raise Forbidden("only administrators may deploy models here")
    version = await _version(gateway, principal, body.model, body.version)
    _check_instances(body.min_instances, body.max_instances)
    deployment_id = new_id()
    new = NewDeployment(
        id=deployment_id,
        owner=principal.username,
        name=body.name,
        version_id=version.version_id,
        pool=deployment_pool(version.model_type, deployment_id),
        hardware=body.hardware,
        min_instances=body.min_instances,
        max_instances=body.max_instances,
        created_by=principal.id,
    )
    async with write(gateway.engine) as session:
        if not await deployments.hold_version(session, new.version_id):
            raise NotFound(f"there is no version {body.version!r} of {body.model} any more")
        if not await deployments.add(session, new):
            raise Taken(["name"])
    return await get(gateway, principal, new.owner, new.name)


async def browse(
    gateway: Gateway, principal: Principal, *, limit: int, cursor: Cursor | None
) -> Sequence[Release]:
    """A keyset page of the caller's deployments, of all for administrators, the newest first."""
    owner = None if principal.is_admin else principal.username
    return await read(
        gateway.engine,
        lambda session: deployments.browse(session, owner=owner, limit=limit, cursor=cursor),
    )


async def get(gateway: Gateway, principal: Principal, owner: str, name: str) -> Release:
    """The deployment `owner/name`. Raises `NotFound`, also for one that is not this caller's."""
    _require_owner(principal, owner, name)
    found = await read(gateway.engine, lambda session: deployments.by_name(session, owner, name))
    if found is None:
        raise _not_found(owner, name)
    return found


async def change(
    gateway: Gateway, principal: Principal, owner: str, name: str, body: DeploymentPatch
) -> Release:
    """Make a new release out of what `body` mentions; none if that is what there is already.

    Predictions that wait already run as they were asked for. Raises `NotFound` and `Invalid`.
    """
    before = await get(gateway, principal, owner, name)
    changes: dict[str, Any] = body.model_dump(exclude_none=True, exclude={"version"})
    if body.version is not None:
        version = await _version(gateway, principal, before.model, body.version)
        if version.model_type != (model_type := model_type_of(before.deployment.pool)):
            raise Invalid([("version", f"must be of the same model type as before, {model_type}")])
        changes["version_id"] = version.version_id
    async with write(gateway.engine) as session:
        deployment = await deployments.lock(session, owner, name)
        if deployment is None:
            raise _not_found(owner, name)
        new = {column: value for column, value in changes.items() if getattr(deployment, column) != value}
        _check_instances(
            new.get("min_instances", deployment.min_instances),
            new.get("max_instances", deployment.max_instances),
        )
        if "version_id" in new and not await deployments.hold_version(session, new["version_id"]):
            raise NotFound(f"there is no version {body.version!r} of {before.model} any more")
        if new:
            await deployments.change(session, deployment.id, principal.id, **new)
    return await get(gateway, principal, owner, name)


async def delete(gateway: Gateway, principal: Principal, owner: str, name: str) -> None:
    """Delete a deployment. Raises `NotFound`, and `DeploymentInUse` while predictions of it wait or run."""
    _require_owner(principal, owner, name)
    async with write(gateway.engine) as session:
        deployment = await deployments.lock(session, owner, name)
        if deployment is None:
            raise _not_found(owner, name)
        if await deployments.has_predictions(session, deployment.pool):
            raise DeploymentInUse("predictions of it wait or run; cancel them or let them finish")
        await deployments.remove(session, deployment)


def via(release: Release) -> Via:
    """How a prediction goes through this deployment."""
    deployment: Deployment = release.deployment
    return Via(f"{deployment.owner}/{deployment.name}", deployment.pool)


async def _version(gateway: Gateway, principal: Principal, model: str, version: str) -> ResolvedVersion:
    reference = await predictions.version_of(gateway, principal, model, version)
    return await gateway.versions.resolve(reference, principal)


def _check_instances(fewest: int, most: int) -> None:
    if fewest > most:
        raise Invalid([("min_instances", f"must not be more than max_instances, which is {most}")])


def _require_owner(principal: Principal, owner: str, name: str) -> None:
    """To others a deployment is not there at all."""
    if not principal.is_admin and owner.lower() != principal.username.lower():
        raise _not_found(owner, name)


def _not_found(owner: str, name: str) -> NotFound:
    return NotFound(f"there is no deployment {f'{owner}/{name}'[:200]!r}")
