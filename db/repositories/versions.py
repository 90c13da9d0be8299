"""What lanes need to know of versions, and what they say of them. Sync; workers only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Engine, select, text

from db.tables import Model, ModelVersion


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """A version as it was registered; `model` is `owner/name`."""

    id: str
    model: str
    model_type: str
    engine: str
    path: str
    revision: str | None
    options: dict[str, Any]


def find_version(engine: Engine, version_id: str) -> StoredVersion | None:
    """The version of this id, or None when it has been deleted."""
    query = (
        select(ModelVersion, Model.owner, Model.name)
        .join(Model, Model.id == ModelVersion.model_id)
        .where(ModelVersion.id == version_id)
    )
    with engine.connect() as connection:
        row = connection.execute(query).first()
    if row is None:
        return None
    return StoredVersion(
        id=row.id,
        model=f"{row.owner}/{row.name}",
        model_type=row.model_type,
        engine=row.engine,
        path=row.path,
        revision=row.revision,
        options=row.options,
    )


@dataclass(frozen=True, slots=True)
class Order:
    """What this lane is to do with a version: load or unload it now, or keep it for a deployment."""

    version_id: str
    action: Literal["load", "unload", "keep"]


_TAKE_ORDERS = text(
    """
    WITH taken AS (DELETE FROM lane_orders WHERE lane_id = :lane RETURNING version_id, action)
    SELECT version_id, action FROM taken
    UNION ALL SELECT unnest(kept), 'keep' FROM lanes WHERE id = :lane
    """
)


def take_orders(engine: Engine, lane_id: str) -> list[Order]:
    """This lane's orders: its own business from now on, but for those to keep, which stand."""
    with engine.connect() as connection:
        taken = connection.execute(_TAKE_ORDERS, {"lane": lane_id})
        return [Order(row.version_id, row.action) for row in taken]


_NOTE_UNAVAILABLE = text(
    """
    INSERT INTO unavailable_versions (version_id, reason)
    SELECT id, :reason FROM model_versions WHERE id = :version
    ON CONFLICT (version_id) DO UPDATE SET reason = excluded.reason, since = excluded.since
    """
)


def note_unavailable(engine: Engine, version_id: str, reason: str) -> None:
    """Store why a version cannot be loaded. One that has been deleted needs no reason."""
    with engine.connect() as connection:
        connection.execute(_NOTE_UNAVAILABLE, {"version": version_id, "reason": reason})


_NOTE_AVAILABLE = text(
    """
    WITH forgotten AS (DELETE FROM unavailable_versions WHERE version_id = :version)
    UPDATE model_versions SET dimensions = :dimensions
    WHERE id = :version AND dimensions IS DISTINCT FROM :dimensions
    """
)


def note_available(engine: Engine, version_id: str, *, dimensions: int | None) -> None:
    """Forget why a version could not be loaded: it could. Its vectors have so many numbers."""
    with engine.connect() as connection:
        connection.execute(_NOTE_AVAILABLE, {"version": version_id, "dimensions": dimensions})
