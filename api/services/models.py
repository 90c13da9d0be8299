"""Models: how they are registered, found, changed and deleted."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from api.credentials import Principal
from api.errors import Forbidden, Invalid, Taken, plain
from api.schemas.models import Links, ModelCreate, ModelPatch, Profile
from api.services import examples
from api.services.input_schema import check_output_schema, normalise
from api.services.versions import viewer
from db.errors import Conflict, NotFound
from db.ids import new_id
from db.repositories import model_search, models, residency
from db.repositories.keyset import Cursor
from db.repositories.model_search import Match
from db.repositories.models import FoundModel, ModelRow, NewVersion, Sort
from db.repositories.transactions import read, write
from db.tables import Model, ModelVersion
from model_types import registry
from model_types.base import TypeInfo
from model_types.options import VersionOptions

if TYPE_CHECKING:
    from api.gateway import Gateway

M = TypeVar("M", ModelRow, FoundModel)

MAX_OPTIONS_BYTES = 64 * 1024
MAX_WORDS = 10

# Who gives any of these means a version. Replicate's clients give models a hardware.
_OF_VERSIONS = set(ModelCreate.model_fields) - set(Profile.model_fields) - {"name", "owner", "hardware"}


class ModelInUse(Conflict):
    """Predictions wait for it or run, or a deployment runs it; it can be deleted when they are gone."""


async def register(gateway: Gateway, principal: Principal, body: ModelCreate) -> tuple[FoundModel, bool]:
    """The model with the version that is its latest from now on, and whether anything is new.

    The same content again is the same version. Without a model type it is a new model that has no version.
    Raises `Forbidden`, `Invalid` and `Taken`.
    """
    owner = _owner(gateway, principal, body)
    version = _version(owner, body)
    model_id = new_id()
    async with write(gateway.engine) as session:
        model = await models.add_or_lock(
            session,
            model_id=model_id,
            owner=owner,
            name=body.name,
            visibility=body.visibility or "public",
            created_by=principal.id,
        )
        is_new = model.id == model_id
        changes = _profile(model, body)
        if version is None and not is_new:
            raise Taken(["name"])
        if version is not None:
            is_new = await models.add_version(session, model.id, version)
            if model.latest_version_id != version.id:
                changes["latest_version_id"] = version.id
        if changes:
            await models.change(session, model.id, **changes)
    gateway.versions.forget()
    if version is None:
        return await by_id(gateway, principal, model.id), is_new
    version_id = version.id
    stored = await read(gateway.engine, lambda session: models.version(session, version_id))
    if stored is None:
        raise NotFound("the model was deleted meanwhile")
    return stored, is_new


def _profile(model: Model, body: Profile) -> dict[str, Any]:
    """The columns that change by what `body` mentions; null removes a link and leaves a text."""
    given = body.model_dump(exclude_none=True, include={"description", "readme"})
    if "cover_image_url" in body.model_fields_set:
        given["cover_image_url"] = body.cover_image_url
    links = {**model.links, **(body.links or Links()).model_dump(exclude_unset=True)}
    links |= body.model_dump(include=set(Links.model_fields), exclude_unset=True)
    given["links"] = {name: url for name, url in links.items() if url is not None}
    return {column: value for column, value in given.items() if value != getattr(model, column)}


def _owner(gateway: Gateway, principal: Principal, body: ModelCreate) -> str:
    if principal.is_admin:
        return body.owner or principal.username
    if gateway.settings.model_creation == "admins":
        raise Forbidden("only administrators may register models here")
    if body.owner is not None and body.owner.lower() != principal.username.lower():
        raise Forbidden("only administrators may register models of other owners")
    return principal.username


def _version(owner: str, body: ModelCreate) -> NewVersion | None:
    """What is to be stored, checked. Its id is the digest of its content, so equal content is one version."""
    if not _OF_VERSIONS & body.model_fields_set:
        return None
    if body.model_type is None or body.model_path is None:
        needed = {"model_type": body.model_type, "model_path": body.model_path}
        raise Invalid([(field, "is required") for field, value in needed.items() if value is None])
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
        "output_schema": check_output_schema(body.output_schema, info),
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
    gateway: Gateway,
    principal: Principal | None,
    *,
    limit: int,
    cursor: Cursor | None = None,
    sort: Sort = "model_created_at",
    ascending: bool = False,
    model_type: str | None = None,
) -> Sequence[FoundModel]:
    """A keyset page of the models that the caller may see, the newest first, or of those of one type."""
    return await read(
        gateway.engine,
        lambda session: models.visible_to(
            session,
            viewer(principal),
            limit=limit,
            cursor=cursor,
            sort=sort,
            ascending=ascending,
            model_type=model_type,
        ),
    )


async def search(gateway: Gateway, principal: Principal | None, query: str, *, limit: int) -> Sequence[Match]:
    """The models that the caller may see and that have all words of `query`, the best first."""
    words = query.replace("/", " ").split()[:MAX_WORDS]
    return await read(
        gateway.engine,
        lambda session: model_search.search(session, viewer(principal), words, limit=limit),
    )


async def types(gateway: Gateway, principal: Principal | None) -> Sequence[TypeInfo]:
    """The types of the models that the caller may see, as far as they are installed here."""
    found = await read(gateway.engine, lambda session: models.types_of(session, viewer(principal)))
    known = registry.names()
    return [registry.get(name) for name in found if name in known]


async def by_id(gateway: Gateway, principal: Principal | None, model_id: str) -> FoundModel:
    """The model of this id. Raises `NotFound`, also for one that is not this caller's to see."""
    rows = await read(gateway.engine, lambda session: models.by_id(session, model_id))
    return _seen(rows, principal, model_id)


async def by_name(gateway: Gateway, principal: Principal | None, owner: str, name: str) -> FoundModel:
    """The model `owner/name`. Raises `NotFound`, also for one that is not this caller's to see."""
    rows = await read(gateway.engine, lambda session: models.by_name(session, owner, name))
    return _seen(rows, principal, f"{owner}/{name}")


def _seen(rows: M | None, principal: Principal | None, reference: str) -> M:
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
    """Change what `body` mentions. Raises `Forbidden` for a model of another owner, and `Invalid`."""
    _require_owner(principal, model)
    changes = _profile(model, body)
    if body.visibility is not None:
        changes["visibility"] = body.visibility
    if "default_example" in body.model_fields_set:
        changes["default_example_id"] = await examples.chosen(gateway, principal, model, body.default_example)
    async with write(gateway.engine) as session:
        await models.change(session, model.id, **changes)
    gateway.versions.forget()


async def delete(gateway: Gateway, principal: Principal, model: Model) -> None:
    """Delete a model and its versions; predictions stay. Raises `Forbidden` and `ModelInUse`."""
    _require_owner(principal, model)
    async with _removal(gateway, model) as session:
        ids = await models.version_ids(session, model.id)
        await _require_idle(session, ids)
        await residency.order_unload(session, ids)
        await models.remove(session, model.id)


async def delete_version(gateway: Gateway, principal: Principal, model: Model, version_id: str) -> None:
    """Delete a version; the newest one left becomes the latest. Raises `Forbidden` and `ModelInUse`."""
    _require_owner(principal, model)
    async with _removal(gateway, model) as session:
        await _require_idle(session, [version_id])
        await residency.order_unload(session, [version_id])
        if not await models.remove_version(session, model.id, version_id):
            raise NotFound(f"there is no version {version_id!r}")


@asynccontextmanager
async def _removal(gateway: Gateway, model: Model) -> AsyncIterator[AsyncSession]:
    """A transaction that holds the model, and forgets it afterwards."""
    try:
        async with write(gateway.engine) as session:
            if not await models.lock(session, model.id):
                raise NotFound(f"there is no model {model.id!r}")
            yield session
    except IntegrityError:
        # A deployment holds its version by a foreign key.
        raise ModelInUse("a deployment runs it; delete the deployment first, or change its version") from None
    gateway.versions.forget()


async def _require_idle(session: AsyncSession, version_ids: Sequence[str]) -> None:
    if await models.have_waiting_predictions(session, version_ids):
        raise ModelInUse("predictions of it wait or run; cancel them or let them finish")


def _require_owner(principal: Principal, model: Model) -> None:
    if not principal.is_admin and model.owner_key != principal.username.lower():
        raise Forbidden("only its owner and administrators may change a model")
