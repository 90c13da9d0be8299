"""API tokens, known by their digests."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from db.repositories.keyset import Cursor, keyset
from db.tables import ApiToken, User


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token to be stored: its digest, and a hint of its text for the eye."""

    id: str
    user_id: str
    name: str
    hint: str
    digest: bytes
    expires_at: datetime | None = None


async def add(session: AsyncSession, token: NewToken) -> ApiToken:
    statement = (
        insert(ApiToken)
        .values(
            id=token.id,
            user_id=token.user_id,
            name=token.name,
            hint=token.hint,
            digest=token.digest,
            expires_at=token.expires_at,
        )
        .returning(ApiToken)
    )
    return (await session.scalars(statement)).one()


async def holder(session: AsyncSession, digest: bytes) -> tuple[User, datetime | None] | None:
    """Whose token this is and when it ends; None when it is unknown, revoked or expired."""
    query = (
        select(User, ApiToken.expires_at)
        .join(ApiToken, ApiToken.user_id == User.id)
        .where(
            ApiToken.digest == digest,
            ApiToken.revoked_at.is_(None),
            or_(ApiToken.expires_at.is_(None), ApiToken.expires_at > func.now()),
            User.disabled_at.is_(None),
        )
    )
    row = (await session.execute(query)).one_or_none()
    return None if row is None else (row[0], row[1])


async def of_user(
    session: AsyncSession, user_id: str, *, limit: int, cursor: Cursor | None
) -> list[ApiToken]:
    """A keyset page (`limit` + 1 rows) of the tokens that this user has not revoked."""
    query = select(ApiToken).where(ApiToken.user_id == user_id, ApiToken.revoked_at.is_(None))
    page = keyset(query, ApiToken.id.expression, limit=limit, cursor=cursor)
    return list(await session.scalars(page))


async def revoke(session: AsyncSession, token_id: str, *, user_id: str) -> bytes | None:
    """Revoke this user's token; its digest, or None when there is no such token."""
    statement = (
        update(ApiToken)
        .where(ApiToken.id == token_id, ApiToken.user_id == user_id, ApiToken.revoked_at.is_(None))
        .values(revoked_at=func.now())
        .returning(ApiToken.digest)
    )
    return await session.scalar(statement)


async def revoke_named(session: AsyncSession, name: str, *, user_id: str) -> None:
    """Revoke all of this user's tokens of one name."""
    await session.execute(
        update(ApiToken)
        .where(ApiToken.user_id == user_id, ApiToken.name == name, ApiToken.revoked_at.is_(None))
        .values(revoked_at=func.now())
    )
