"""Uploaded files: who owns which, and until when.

One that has expired is not there any more, unless a batch reads it still.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import ARRAY, ColumnElement, Text, any_, cast, delete, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from db.repositories.keyset import Cursor, keyset
from db.tables import Batch, File

# By a batch that has not ended.
_IS_READ = select(Batch.id).where(Batch.input_file_id == File.id, Batch.due_at.is_not(None)).exists()
_IS_THERE = or_(File.expires_at > func.now(), _IS_READ)


async def add(session: AsyncSession, file: File) -> None:
    session.add(file)
    await session.flush()


async def browse(
    session: AsyncSession,
    owner_id: str,
    *,
    limit: int,
    cursor: Cursor | None,
    purpose: str | None = None,
    ascending: bool = False,
) -> list[File]:
    """A keyset page (`limit` + 1 rows) of this owner's files, those for one purpose if that is given."""
    query = select(File).where(*_of(owner_id))
    if purpose is not None:
        query = query.where(File.purpose == purpose)
    page = keyset(query, File.id.expression, limit=limit, cursor=cursor, ascending=ascending)
    return list(await session.scalars(page))


async def by_ids(session: AsyncSession, owner_id: str, file_ids: Collection[str]) -> list[File]:
    """Those of these files that this owner has."""
    # One parameter, however many there are: PostgreSQL takes no more than 65,535.
    wanted = cast(list(file_ids), ARRAY(Text))
    return list(await session.scalars(select(File).where(File.id == any_(wanted), *_of(owner_id))))


async def by_id(session: AsyncSession, file_id: str) -> File | None:
    """The file of this id, whoever owns it."""
    return await session.scalar(select(File).where(File.id == file_id, _IS_THERE))


async def remove(session: AsyncSession, owner_id: str, file_id: str) -> bool:
    """Delete this owner's file; False when there is no such file, or a batch reads it."""
    removed = delete(File).where(File.id == file_id, *_of(owner_id), ~_IS_READ).returning(File.id)
    return await session.scalar(removed) is not None


def _of(owner_id: str) -> tuple[ColumnElement[bool], ...]:
    return File.owner_id == owner_id, _IS_THERE
