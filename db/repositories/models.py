"""Models and their versions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import ColumnElement, Select, delete, func, or_, select, true, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from db.repositories.keyset import Cursor, keyset
from db.tables import Model, ModelVersion, QueueEntry

# A model and one of its versions.
ModelRow = tuple[Model, ModelVersion]
# A model and its latest version, if it has any.
FoundModel = tuple[Model, ModelVersion | None]
Sort = Literal["model_created_at", "latest_version_created_at"]


@dataclass(frozen=True, slots=True)
class NewVersion:
    """A version to be stored; `id` is the digest of everything else, its model's name included."""

    id: str
    label: str
    model_type: str
    engine: str
    path: str
    revision: str | None
    hardware: str
    input_schema: dict[str, Any]
    output_schema: dict[str, Any] | None
    options: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who asks, as far as it matters to what is seen: public models, one's own, or all."""

    username: str | None = None
    sees_all: bool = False

    def may_see(self, model: Model) -> bool:
        return self.sees_all or model.visibility == "public" or self._owns(model)

    def _owns(self, model: Model) -> bool:
        return self.username is not None and model.owner_key == self.username.lower()

    def condition(self) -> ColumnElement[bool]:
        """`may_see` in SQL."""
        if self.sees_all:
            return true()
        public = Model.visibility == "public"
        return public if self.username is None else or_(public, Model.owner_key == self.username.lower())


async def public_owners(session: AsyncSession, name: str) -> Sequence[str]:
    """Whose public models have this name, in any case."""
    query = select(Model.owner).where(Model.name_key == name.lower(), Model.visibility == "public")
    return (await session.scalars(query)).all()


def with_latest() -> Select[Model, ModelVersion | None]:
    """Models and their latest versions, of those that have one."""
    return select(Model, ModelVersion).outerjoin(ModelVersion, ModelVersion.id == Model.latest_version_id)


def _named(owner: str, name: str) -> ColumnElement[bool]:
    return (Model.owner_key == owner.lower()) & (Model.name_key == name.lower())


async def by_id(session: AsyncSession, model_id: str) -> FoundModel | None:
    """A model and its latest version."""
    row = (await session.execute(with_latest().where(Model.id == model_id))).one_or_none()
    return None if row is None else (row[0], row[1])


async def by_name(session: AsyncSession, owner: str, name: str) -> FoundModel | None:
    """A model, its name in any case, and its latest version."""
    row = (await session.execute(with_latest().where(_named(owner, name)))).one_or_none()
    return None if row is None else (row[0], row[1])


async def visible_to(
    session: AsyncSession,
    viewer: Viewer,
    *,
    limit: int,
    cursor: Cursor | None = None,
    sort: Sort = "model_created_at",
    ascending: bool = False,
    model_type: str | None = None,
) -> Sequence[FoundModel]:
    """A keyset page (`limit` + 1 rows) of the models that this viewer may see, or of those of one type."""
    query = with_latest().where(viewer.condition())
    if model_type is not None:
        query = query.where(ModelVersion.model_type == model_type)
    order: ColumnElement[Any] = Model.id.expression
    place: ColumnElement[Any] | None = None
    if sort == "latest_version_created_at":
        latest = func.coalesce(ModelVersion.created_at, Model.created_at)
        order = tuple_(latest, Model.id)
        if cursor is not None:
            here = with_latest().with_only_columns(latest, Model.id).where(Model.id == cursor.id)
            place = here.correlate(None).scalar_subquery()
    page = keyset(query, order, limit=limit, cursor=cursor, place=place, ascending=ascending)
    return [(row[0], row[1]) for row in await session.execute(page)]


async def types_of(session: AsyncSession, viewer: Viewer) -> Sequence[str]:
    """The types of the models that this viewer may see, in the order of their names."""
    latest = ModelVersion.id == Model.latest_version_id
    query = select(ModelVersion.model_type).join(Model, latest).where(viewer.condition()).distinct()
    return (await session.scalars(query.order_by(ModelVersion.model_type))).all()


async def version(session: AsyncSession, version_id: str) -> ModelRow | None:
    """A version by its id alone, and its model."""
    query = select(Model, ModelVersion).join(Model, Model.id == ModelVersion.model_id)
    row = (await session.execute(query.where(ModelVersion.id == version_id))).one_or_none()
    return None if row is None else (row[0], row[1])


async def version_of(session: AsyncSession, owner: str, name: str, version_or_label: str) -> ModelRow | None:
    """A model's version by its id, or the newest one that bears this label."""
    query = (
        select(Model, ModelVersion)
        .join(Model, Model.id == ModelVersion.model_id)
        .where(_named(owner, name))
        .where(or_(ModelVersion.id == version_or_label, ModelVersion.label == version_or_label))
        .order_by((ModelVersion.id == version_or_label).desc(), ModelVersion.created_at.desc())
        .limit(1)
    )
    row = (await session.execute(query)).one_or_none()
    return None if row is None else (row[0], row[1])


async def versions_of(
    session: AsyncSession, model_id: str, *, limit: int, cursor: Cursor | None
) -> list[ModelVersion]:
    """A keyset page (`limit` + 1 rows) of a model's versions; their ids are digests, so time orders them."""
    order = tuple_(ModelVersion.created_at, ModelVersion.id)
    place = (
        select(ModelVersion.created_at, ModelVersion.id).where(ModelVersion.id == cursor.id).scalar_subquery()
        if cursor
        else None
    )
    query = select(ModelVersion).where(ModelVersion.model_id == model_id)
    return list(await session.scalars(keyset(query, order, limit=limit, cursor=cursor, place=place)))


async def version_ids(session: AsyncSession, model_id: str) -> Sequence[str]:
    """The ids of all versions of a model."""
    query = select(ModelVersion.id).where(ModelVersion.model_id == model_id)
    return (await session.scalars(query)).all()


async def add_or_lock(
    session: AsyncSession, *, model_id: str, owner: str, name: str, visibility: str, created_by: str
) -> Model:
    """The model of this name, made now if there is none, and locked until the transaction ends."""
    statement = (
        insert(Model)
        .values(
            id=model_id,
            owner=owner,
            owner_key=owner.lower(),
            name=name,
            name_key=name.lower(),
            visibility=visibility,
            created_by=created_by,
        )
        .on_conflict_do_update(
            index_elements=[Model.owner_key, Model.name_key], set_={"updated_at": Model.updated_at}
        )
        .returning(Model)
    )
    return (await session.scalars(statement)).one()


async def add_version(session: AsyncSession, model_id: str, new: NewVersion) -> bool:
    """Store a version; False when it is there already, as the same content has the same id."""
    statement = (
        insert(ModelVersion)
        .values(
            id=new.id,
            model_id=model_id,
            label=new.label,
            model_type=new.model_type,
            engine=new.engine,
            path=new.path,
            revision=new.revision,
            hardware=new.hardware,
            input_schema=new.input_schema,
            output_schema=new.output_schema,
            options=new.options,
        )
        .on_conflict_do_nothing(index_elements=[ModelVersion.id])
        .returning(ModelVersion.id)
    )
    return await session.scalar(statement) is not None


async def change(session: AsyncSession, model_id: str, **columns: Any) -> None:
    """Set columns of a model, and the time of its last change."""
    await session.execute(update(Model).where(Model.id == model_id).values(**columns, updated_at=func.now()))


async def lock(session: AsyncSession, model_id: str) -> bool:
    """Lock a model until the transaction ends; False when there is none."""
    query = select(Model.id).where(Model.id == model_id).with_for_update()
    return await session.scalar(query) is not None


async def have_waiting_predictions(session: AsyncSession, version_ids: Sequence[str]) -> bool:
    """Whether a prediction of any of these versions is not terminal yet, in whichever queue."""
    query = select(QueueEntry.id).where(QueueEntry.version_id.in_(version_ids)).limit(1)
    return await session.scalar(query) is not None


async def remove(session: AsyncSession, model_id: str) -> None:
    """Delete a model and its versions."""
    await session.execute(delete(Model).where(Model.id == model_id))


async def remove_version(session: AsyncSession, model_id: str, version_id: str) -> bool:
    """Delete a version; the newest one left becomes the model's latest. False when it is not there."""
    removal = delete(ModelVersion).where(ModelVersion.model_id == model_id, ModelVersion.id == version_id)
    if await session.scalar(removal.returning(ModelVersion.id)) is None:
        return False
    newest = (
        select(ModelVersion.id)
        .where(ModelVersion.model_id == model_id)
        .order_by(ModelVersion.created_at.desc(), ModelVersion.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    await session.execute(
        update(Model)
        .where(Model.id == model_id, Model.latest_version_id == version_id)
        .values(latest_version_id=newest, updated_at=func.now())
    )
    return True
