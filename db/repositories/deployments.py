"""Deployments: their present releases. Async; for the gateway."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, delete, func, select, text, true, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from db.repositories.keyset import Cursor, keyset
from db.tables import Deployment, Model, ModelVersion, QueueEntry, User


@dataclass(frozen=True, slots=True)
class Release:
    """A deployment as it is now; `model` is `owner/name`, `created_by` a user name, None if that is gone."""

    deployment: Deployment
    model: str
    created_by: str | None


@dataclass(frozen=True, slots=True)
class NewDeployment:
    """A deployment to be stored: `pool` by `db.pools`, and `created_by` an account's id."""

    id: str
    owner: str
    name: str
    version_id: str
    pool: str
    hardware: str
    min_instances: int
    max_instances: int
    created_by: str


def _releases() -> Select[Deployment, str, str]:
    return (
        select(Deployment, Model.owner + "/" + Model.name, User.username)
        .join(ModelVersion, ModelVersion.id == Deployment.version_id)
        .join(Model, Model.id == ModelVersion.model_id)
        .outerjoin(User, User.id == Deployment.created_by)
    )


def _named(owner: str, name: str) -> ColumnElement[bool]:
    return (Deployment.owner_key == owner.lower()) & (Deployment.name_key == name.lower())


async def by_name(session: AsyncSession, owner: str, name: str) -> Release | None:
    """The deployment of this name, in any case."""
    row = (await session.execute(_releases().where(_named(owner, name)))).one_or_none()
    return None if row is None else Release(row[0], row[1], row[2])


async def browse(
    session: AsyncSession, *, owner: str | None, limit: int, cursor: Cursor | None
) -> Sequence[Release]:
    """A keyset page (`limit` + 1 rows) of an owner's deployments, or of all for None."""
    mine = true() if owner is None else Deployment.owner_key == owner.lower()
    page = keyset(_releases().where(mine), Deployment.id.expression, limit=limit, cursor=cursor)
    return [Release(row[0], row[1], row[2]) for row in await session.execute(page)]


async def hold_version(session: AsyncSession, version_id: str) -> bool:
    """Keep a version from being deleted until the transaction ends; False when it has been."""
    query = select(ModelVersion.id).where(ModelVersion.id == version_id)
    return await session.scalar(query.with_for_update(read=True, key_share=True)) is not None


async def add(session: AsyncSession, new: NewDeployment) -> bool:
    """Store a deployment and its queue's clock; False when its owner has one of this name already."""
    statement = (
        insert(Deployment)
        .values(
            id=new.id,
            owner=new.owner,
            owner_key=new.owner.lower(),
            name=new.name,
            name_key=new.name.lower(),
            version_id=new.version_id,
            pool=new.pool,
            hardware=new.hardware,
            min_instances=new.min_instances,
            max_instances=new.max_instances,
            created_by=new.created_by,
        )
        .on_conflict_do_nothing(index_elements=[Deployment.owner_key, Deployment.name_key])
        .returning(Deployment.id)
    )
    if await session.scalar(statement) is None:
        return False
    await session.execute(text("INSERT INTO pool_clocks (pool) VALUES (:pool)"), {"pool": new.pool})
    return True


async def lock(session: AsyncSession, owner: str, name: str) -> Deployment | None:
    """The deployment of this name; until the transaction ends nobody else changes it or claims of it."""
    return await session.scalar(select(Deployment).where(_named(owner, name)).with_for_update(key_share=True))


async def change(session: AsyncSession, deployment_id: str, created_by: str, **columns: Any) -> None:
    """Make the next release, by the account of this id, with these columns changed."""
    await session.execute(
        update(Deployment)
        .where(Deployment.id == deployment_id)
        .values(**columns, created_by=created_by, release=Deployment.release + 1, updated_at=func.now())
    )


async def has_predictions(session: AsyncSession, pool: str) -> bool:
    """Whether a prediction in a deployment's queue is not terminal yet."""
    return await session.scalar(select(QueueEntry.id).where(QueueEntry.pool == pool).limit(1)) is not None


async def remove(session: AsyncSession, deployment: Deployment) -> None:
    """Delete a deployment and its queue's clocks; predictions stay."""
    await session.execute(delete(Deployment).where(Deployment.id == deployment.id))
    for clocks in ("pool_clocks", "owner_clocks"):
        await session.execute(text(f"DELETE FROM {clocks} WHERE pool = :pool"), {"pool": deployment.pool})
