"""Which versions are in memory, and how administrators change that."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from api.errors import Unavailable
from db.repositories import residency
from db.repositories.residency import Residency
from db.repositories.transactions import read, write
from db.tables import ModelVersion
from model_types import registry

if TYPE_CHECKING:
    from api.gateway import Gateway


async def residencies(gateway: Gateway, versions: Iterable[ModelVersion]) -> dict[str, Residency]:
    """For each version's id: how many lanes hold it, and why it cannot be loaded."""
    ids = {version.id for version in versions}
    lease_seconds = gateway.settings.lease_seconds
    return await read(
        gateway.engine, lambda session: residency.residencies(session, ids, lease_seconds=lease_seconds)
    )


async def load(gateway: Gateway, version: ModelVersion, *, lanes: int) -> Residency:
    """Have so many lanes hold the version; how things are now. Raises `Unavailable` without any lane."""
    pool = registry.get(version.model_type).name
    async with write(gateway.engine) as session:
        has_lanes = await residency.order_load(
            session, version.id, pool, lanes=lanes, lease_seconds=gateway.settings.lease_seconds
        )
    if not has_lanes:
        raise Unavailable(f"no lane serves {pool} now")
    return (await residencies(gateway, [version]))[version.id]


async def unload(gateway: Gateway, version: ModelVersion) -> Residency:
    """Have every lane let go of the version when it is at rest; how things are now."""
    async with write(gateway.engine) as session:
        await residency.order_unload(session, [version.id])
    return (await residencies(gateway, [version]))[version.id]
