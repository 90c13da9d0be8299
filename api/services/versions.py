"""Which version a prediction asks for, by whatever name; answered from memory most of the time."""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from api.cache import TimedCache
from api.credentials import Principal
from api.errors import Unavailable
from api.services.input_caps import UNCAPPED, InputCaps
from api.services.input_schema import InputValidator
from db.errors import NotFound
from db.ids import ID_LENGTH
from db.repositories import models
from db.repositories.models import FoundModel, ModelRow, Viewer
from db.repositories.transactions import read
from model_types import registry
from model_types.base import TypeInfo

# How long another gateway may still give an older version for a model's name.
CACHE_SECONDS = 5.0
MAX_CACHED = 10_000
MAX_VALIDATORS = 1_000
MAX_REFERENCE_LENGTH = 512

_VERSION_ID = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class ResolvedVersion:
    """A version, ready to take inputs. `model_type` is the pool that serves it."""

    version_id: str
    model_id: str
    owner: str
    name: str
    label: str
    visibility: str
    model_type: str
    info: TypeInfo
    validator: InputValidator
    options: dict[str, Any]

    def visible_to(self, principal: Principal) -> bool:
        return (
            self.visibility == "public"
            or principal.is_admin
            or principal.username.lower() == self.owner.lower()
        )


def viewer(principal: Principal | None) -> Viewer:
    """A caller, as far as it matters to which models they see."""
    if principal is None:
        return Viewer()
    return Viewer(principal.username, sees_all=principal.is_admin)


class Versions:
    """Finds versions. What is asked for often costs no look into the database."""

    def __init__(self, engine: AsyncEngine, caps: InputCaps = UNCAPPED) -> None:
        self._engine = engine
        self._caps = caps
        self._resolved: TimedCache[str, ResolvedVersion] = TimedCache(
            seconds=CACHE_SECONDS, max_entries=MAX_CACHED
        )
        # Versions never change, so these last.
        self._validators: OrderedDict[str, InputValidator] = OrderedDict()

    async def resolve(self, reference: str, principal: Principal) -> ResolvedVersion:
        """The version that `reference` means to this caller.

        A reference is a model's id, a version's id (64 hex characters), `owner/name` for the latest
        version, or `owner/name:version` with a version's id or label. The owner may be left out where one
        public model alone has the name. Raises `NotFound`.
        """
        resolved = self._resolved.get(reference)
        if resolved is None:
            resolved = await self._find(reference)
            self._resolved.put(reference, resolved)
        if not resolved.visible_to(principal):
            raise _not_found(reference)
        return resolved

    def forget(self) -> None:
        """Some model has changed: names are looked up anew."""
        self._resolved.clear()

    async def _find(self, reference: str) -> ResolvedVersion:
        if len(reference) > MAX_REFERENCE_LENGTH or "\0" in reference:
            raise _not_found(reference)
        rows = await read(self._engine, lambda session: _look_up(session, reference))
        if rows is None:
            raise _not_found(reference)
        model, version = rows
        try:
            info = registry.get(version.model_type)
        except registry.UnknownModelType as error:
            raise Unavailable(f"{reference} cannot be served here: {error}") from None
        validator = self._validators.get(version.id)
        if validator is None:
            validator = InputValidator(self._caps.narrowed(version.input_schema, info), info)
        self._validators[version.id] = validator
        self._validators.move_to_end(version.id)
        if len(self._validators) > MAX_VALIDATORS:
            self._validators.popitem(last=False)
        return ResolvedVersion(
            version_id=version.id,
            model_id=model.id,
            owner=model.owner,
            name=model.name,
            label=version.label,
            visibility=model.visibility,
            model_type=info.name,
            info=info,
            validator=validator,
            options=version.options,
        )


async def _look_up(session: AsyncSession, reference: str) -> ModelRow | None:
    if _VERSION_ID.fullmatch(reference):
        return await models.version(session, reference)
    if len(reference) == ID_LENGTH and (found := await models.by_id(session, reference)):
        return _with_version(found)
    name, _, version = reference.partition(":")
    owner, slash, name = name.rpartition("/")
    if not slash:
        owners = await models.public_owners(session, name)
        if len(owners) != 1:
            return None
        owner = owners[0]
    if version:
        return await models.version_of(session, owner, name, version)
    return _with_version(await models.by_name(session, owner, name))


def _with_version(found: FoundModel | None) -> ModelRow | None:
    """A model that has a version; one that has none cannot run."""
    if found is None or found[1] is None:
        return None
    return found[0], found[1]


def _not_found(reference: str) -> NotFound:
    return NotFound(f"there is no model or version {reference[:MAX_REFERENCE_LENGTH]!r}")
