"""Uploaded files: who owns which, and until when. One that has expired is not there any more."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import ARRAY, ColumnElement, Text, any_, cast, delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from db.repositories.keyset import Cursor, keyset
from db.tables import File


async def add(session: AsyncSession, file: File) -> None:
    session.add(file)
    await session.flush()


async def browse(session: AsyncSession, owner_id: str, *, limit: int, cursor: Cursor | None) -> list[File]:
    """A keyset page (`limit` + 1 rows) of this owner's files."""
    query = select(File).where(*_of(owner_id))
    return list(await session.scalars(keyset(query, File.id.expression, limit=limit, cursor=cursor)))


async def by_ids(session: AsyncSession, owner_id: str, file_ids: Collection[str]) -> list[File]:
    """Those of these files that this owner has."""
    # One parameter, however many there are: PostgreSQL takes no more than 65,535.
    wanted = cast(list(file_ids), ARRAY(Text))
    return list(await session.scalars(select(File).where(File.id == any_(wanted), *_of(owner_id))))


async def by_id(session: AsyncSession, file_id: str) -> File | None:
    """The file of this id, whoever owns it."""
    return await session.scalar(select(File).where(File.id == file_id, File.expires_at > func.now()))


async def remove(session: AsyncSession, owner_id: str, file_id: str) -> bool:
    """Delete this owner's file; False when there is no such file."""
    removed = delete(File).where(File.id == file_id, *_of(owner_id)).returning(File.id)
    return await session.scalar(removed) is not None


def _of(owner_id: str) -> tuple[ColumnElement[bool], ...]:
    return File.owner_id == owner_id, File.expires_at > func.now()
