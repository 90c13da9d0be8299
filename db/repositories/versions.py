"""What lanes need to know of versions. Sync; workers only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, select

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
