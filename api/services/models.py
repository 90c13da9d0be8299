"""Models: how they are registered, found, changed and deleted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from api.credentials import Principal
from api.errors import Forbidden, Invalid, plain
from api.schemas.models import ModelCreate, ModelPatch
from api.services.input_schema import normalise
from api.services.versions import viewer
from db.errors import Conflict, NotFound
from db.ids import new_id
from db.repositories import models, residency
from db.repositories.keyset import Cursor
from db.repositories.models import ModelRow, NewVersion
from db.repositories.transactions import read, write
from db.tables import Model, ModelVersion
from model_types import registry
from model_types.base import TypeInfo
from model_types.options import VersionOptions

if TYPE_CHECKING:
    from api.gateway import Gateway

MAX_OPTIONS_BYTES = 64 * 1024


class ModelInUse(Conflict):
    """Predictions of this model wait or run; it can be deleted when they are done."""


async def register(gateway: Gateway, principal: Principal, body: ModelCreate) -> tuple[ModelRow, bool]:
    """The version that is the model's latest from now on, and whether it is new.

    The same content again is the same version. Raises `Forbidden` and `Invalid`.
    """
    owner = _owner(gateway, principal, body)
    version = _version(owner, body)
    async with write(gateway.engine) as session:
        model = await models.add_or_lock(
            session,
            model_id=new_id(),
            owner=owner,
            name=body.name,
            visibility=body.visibility or "public",
            created_by=principal.id,
        )
        is_new = await models.add_version(session, model.id, version)
        changes: dict[str, Any] = {}
        if model.latest_version_id != version.id:
            changes["latest_version_id"] = version.id
        if body.description not in (None, model.description):
            changes["description"] = body.description
        if changes:
            await models.change(session, model.id, **changes)
    gateway.versions.forget()
    stored = await read(gateway.engine, lambda session: models.version(session, version.id))
    if stored is None:
        raise NotFound("the model was deleted meanwhile")
    return stored, is_new


def _owner(gateway: Gateway, principal: Principal, body: ModelCreate) -> str:
    if principal.is_admin:
        return body.owner or principal.username
    if gateway.settings.model_creation == "admins":
        raise Forbidden("only administrators may register models here")
    if body.owner is not None and body.owner.lower() != principal.username.lower():
        raise Forbidden("only administrators may register models of other owners")
    return principal.username


def _version(owner: str, body: ModelCreate) -> NewVersion:
    """What is to be stored, checked. Its id is the digest of its content, so equal content is one version."""
    info = _type_info(body.model_type)
    engine = body.engine or info.default_engine
    if engine not in info.engines:
        raise Invalid([("engine", f"must be one of {info.name}'s: {', '.join(sorted(info.engines))}")])
    _check_options(body.options)
    content: dict[str, Any] = {
        "label": body.version,
        "model_type": info.name,
        "engine": engine,
        "path": body.model_path,
        "revision": body.revision,
        "hardware": body.hardware,
        "input_schema": normalise(body.input_schema, info),
        "options": body.options,
    }
    return NewVersion(id=_digest({"model": f"{owner}/{body.name}".lower(), **content}), **content)


def _check_options(options: dict[str, Any]) -> None:
    if len(json.dumps(options)) > MAX_OPTIONS_BYTES:
        raise Invalid([("options", f"are longer than {MAX_OPTIONS_BYTES} bytes")])
    try:
        VersionOptions.model_validate(options)
    except ValidationError as error:
        fields = [(".".join(["options", *map(str, item["loc"])]), item["msg"]) for item in error.errors()]
        raise Invalid([(field, plain(message)) for field, message in fields]) from None


def _type_info(name: str) -> TypeInfo:
    try:
        return registry.get(name)
    except registry.UnknownModelType:
        raise Invalid([("model_type", f"must be one of: {', '.join(registry.names())}")]) from None


def _digest(content: dict[str, Any]) -> str:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()


async def browse(
    gateway: Gateway, principal: Principal | None, *, limit: int, cursor: Cursor | None
) -> Sequence[ModelRow]:
    """A keyset page of the models that the caller may see, the newest first."""
    who = viewer(principal)
    return await read(
        gateway.engine, lambda session: models.visible_to(session, who, limit=limit, cursor=cursor)
    )


async def by_id(gateway: Gateway, principal: Principal | None, model_id: str) -> ModelRow:
    """The model of this id. Raises `NotFound`, also for one that is not this caller's to see."""
    rows = await read(gateway.engine, lambda session: models.by_id(session, model_id))
    return _seen(rows, principal, model_id)


async def by_name(gateway: Gateway, principal: Principal | None, owner: str, name: str) -> ModelRow:
    """The model `owner/name`. Raises `NotFound`, also for one that is not this caller's to see."""
    rows = await read(gateway.engine, lambda session: models.by_name(session, owner, name))
    return _seen(rows, principal, f"{owner}/{name}")


def _seen(rows: ModelRow | None, principal: Principal | None, reference: str) -> ModelRow:
    if rows is None or not viewer(principal).may_see(rows[0]):
        raise NotFound(f"there is no model {reference!r}")
    return rows


async def versions(
    gateway: Gateway, model: Model, *, limit: int, cursor: Cursor | None
) -> list[ModelVersion]:
    """A keyset page of a model's versions, the newest first."""
    return await read(
        gateway.engine, lambda session: models.versions_of(session, model.id, limit=limit, cursor=cursor)
    )


async def version(
    gateway: Gateway, principal: Principal | None, owner: str, name: str, version_or_label: str
) -> ModelVersion:
    """A version of `owner/name` by its id or label. Raises `NotFound`."""
    reference = f"{owner}/{name}:{version_or_label}"
    rows = await read(
        gateway.engine, lambda session: models.version_of(session, owner, name, version_or_label)
    )
    return _seen(rows, principal, reference)[1]


async def change(gateway: Gateway, principal: Principal, model: Model, body: ModelPatch) -> None:
    """Change what `body` mentions. Raises `Forbidden` for a model of another owner."""
    _require_owner(principal, model)
    changes: dict[str, Any] = body.model_dump(exclude_none=True, include={"description", "visibility"})
    if body.links is not None:
        links = {**model.links, **body.links.model_dump(exclude_unset=True)}
        changes["links"] = {name: url for name, url in links.items() if url is not None}
    async with write(gateway.engine) as session:
        await models.change(session, model.id, **changes)
    gateway.versions.forget()


async def delete(gateway: Gateway, principal: Principal, model: Model) -> None:
    """Delete a model and its versions; predictions stay. Raises `Forbidden` and `ModelInUse`."""
    _require_owner(principal, model)
    async with write(gateway.engine) as session:
        if not await models.lock(session, model.id):
            raise NotFound(f"there is no model {model.id!r}")
        if await models.has_waiting_predictions(session, model.id):
            raise ModelInUse("predictions of this model wait or run; cancel them or let them finish")
        await residency.order_unload(session, await models.version_ids(session, model.id))
        await models.remove(session, model.id)
    gateway.versions.forget()


def _require_owner(principal: Principal, model: Model) -> None:
    if not principal.is_admin and model.owner_key != principal.username.lower():
        raise Forbidden("only its owner and administrators may change a model")
