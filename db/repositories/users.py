"""Accounts."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from db.tables import Model, User


@dataclass(frozen=True, slots=True)
class NewUser:
    """An account to be made; the caller has checked the names and hashed the password."""

    id: str
    username: str
    email: str
    password_hash: str
    role: str = "user"
    invite_id: str | None = None


async def by_id(session: AsyncSession, user_id: str) -> User | None:
    return await session.get(User, user_id)


async def by_username(session: AsyncSession, username: str) -> User | None:
    """The account of this name, whatever its case."""
    return await session.scalar(select(User).where(User.username_key == username.lower()))


async def add(session: AsyncSession, user: NewUser) -> User | None:
    """The new account, or None when its name, its address or its invitation is taken already."""
    statement = (
        insert(User)
        .values(
            id=user.id,
            username=user.username,
            username_key=user.username.lower(),
            email=user.email,
            email_key=user.email.lower(),
            password_hash=user.password_hash,
            role=user.role,
            invite_id=user.invite_id,
        )
        .on_conflict_do_nothing()
        .returning(User)
    )
    return await session.scalar(statement)


async def taken_fields(session: AsyncSession, username: str, email: str) -> list[str]:
    """Which of `username` and `email` are in use. A name that owns models counts: its models come with it."""
    username_key, email_key = username.lower(), email.lower()
    found = await session.execute(
        select(User.username_key, User.email_key).where(
            or_(User.username_key == username_key, User.email_key == email_key)
        )
    )
    rows = found.all()
    owns_models = await session.scalar(
        select(select(Model.id).where(Model.owner_key == username_key).exists())
    )
    taken = []
    if owns_models or any(row.username_key == username_key for row in rows):
        taken.append("username")
    if any(row.email_key == email_key for row in rows):
        taken.append("email")
    return taken


async def make_admin(session: AsyncSession, user_id: str, *, password_hash: str) -> None:
    """Give this account a new password and an administrator's role, and let it in again."""
    await session.execute(
        update(User)
        .where(User.id == user_id)
        .values(role="admin", password_hash=password_hash, disabled_at=None)
    )


async def limit_run_seconds(session: AsyncSession, username: str, seconds: float | None) -> User | None:
    """Limit what this account may use in a month, or with None no more; the account, where there is one."""
    statement = (
        update(User)
        .where(User.username_key == username.lower())
        .values(monthly_run_seconds=seconds)
        .returning(User)
    )
    return await session.scalar(statement)


async def set_password_hash(session: AsyncSession, user_id: str, *, old: str, new: str) -> None:
    """Replace a password's hash by a stronger one of the same password, unless it has changed meanwhile."""
    await session.execute(
        update(User).where(User.id == user_id, User.password_hash == old).values(password_hash=new)
    )
