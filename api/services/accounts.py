"""Accounts: who may have one, how it is entered, and the tokens that it gives out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from api.credentials import INVITE_AUDIENCE, ApiToken, Principal, access_token, invitation
from api.errors import Forbidden, Taken, Unauthorized
from api.passwords import Passwords
from db.errors import NotFound
from db.ids import new_id
from db.repositories import tokens, users
from db.repositories.keyset import Cursor
from db.repositories.transactions import read, write
from db.tables import ApiToken as ApiTokenRow
from db.tables import User

if TYPE_CHECKING:
    from api.gateway import Gateway


class RegistrationClosed(Forbidden):
    """Accounts are made by the administrator here."""


class InvitationNeeded(Forbidden):
    """Registration takes an invitation, and each serves once."""


@dataclass(frozen=True, slots=True)
class Login:
    """An access token and how long it lasts."""

    access_token: str
    expires_in: int


async def register(
    gateway: Gateway, *, username: str, email: str, password: str, invite: str | None = None
) -> User:
    """A new account. Raises `RegistrationClosed`, `InvitationNeeded`, and `Taken` with the fields' names."""
    invite_id = _admission(gateway, invite)
    async with write(gateway.engine) as session:
        await _refuse_taken(session, username, email)
    password_hash = await gateway.passwords.hash(password)
    new = users.NewUser(new_id(), username, email, password_hash, invite_id=invite_id)
    async with write(gateway.engine) as session:
        user = await users.add(session, new)
        if user is None:
            await _refuse_taken(session, username, email)
            raise InvitationNeeded("this invitation has been used")
        return user


def _admission(gateway: Gateway, invite: str | None) -> str | None:
    """The id of the invitation that opens registration; None where none is needed."""
    policy = gateway.settings.registration_policy
    if policy == "closed":
        raise RegistrationClosed("registration is closed; ask the administrator for an account")
    if policy == "open":
        return None
    if invite is None:
        raise InvitationNeeded("registration takes an invitation; ask the administrator for one")
    try:
        return str(gateway.signer.read(invite, INVITE_AUDIENCE, required="jti")["jti"])
    except Unauthorized:
        raise InvitationNeeded("this invitation is not valid, or no longer") from None


async def _refuse_taken(session: AsyncSession, username: str, email: str) -> None:
    if taken := await users.taken_fields(session, username, email):
        raise Taken(taken)


def invite(gateway: Gateway, *, expires_in_seconds: int) -> tuple[str, datetime]:
    """An invitation, and when it ends."""
    ends = datetime.now(UTC) + timedelta(seconds=expires_in_seconds)
    return invitation(gateway.signer, seconds=expires_in_seconds), ends


async def log_in(gateway: Gateway, *, username: str, password: str) -> Login:
    """An access token for a name and its password. Raises `Unauthorized`, whichever of them is wrong."""
    user = await read(gateway.engine, lambda session: users.by_username(session, username))
    if user is not None and user.disabled_at is not None:
        user = None
    matches, stronger = await gateway.passwords.verify(password, user.password_hash if user else None)
    if user is None or not matches:
        raise Unauthorized("the user name or the password is wrong")
    if stronger:
        async with write(gateway.engine) as session:
            await users.set_password_hash(session, user.id, old=user.password_hash, new=stronger)
    seconds = gateway.settings.access_token_seconds
    return Login(access_token(gateway.signer, user.id, seconds=seconds), seconds)


async def account(gateway: Gateway, principal: Principal) -> User:
    """The caller's account. Raises `NotFound` when it has gone meanwhile."""
    user = await read(gateway.engine, lambda session: users.by_id(session, principal.id))
    if user is None:
        raise NotFound("this account does not exist any more")
    return user


async def find(gateway: Gateway, username: str) -> User:
    """The account of this name. Raises `NotFound`."""
    user = await read(gateway.engine, lambda session: users.by_username(session, username))
    return _found(user, username)


async def limit_run_seconds(gateway: Gateway, username: str, seconds: float | None) -> User:
    """Limit what an account may use in a month: here at once, elsewhere within the tokens' cache's time.

    Raises `NotFound`.
    """
    async with write(gateway.engine) as session:
        user = _found(await users.limit_run_seconds(session, username, seconds), username)
    gateway.credentials.forget_all()
    return user


def _found(user: User | None, username: str) -> User:
    if user is None:
        raise NotFound(f"there is no user {username[:64]!r}")
    return user


async def create_token(
    gateway: Gateway, principal: Principal, *, name: str, expires_in_seconds: int | None
) -> tuple[ApiTokenRow, str]:
    """A new API token of the caller's: its row, and its text, which is shown this once."""
    async with write(gateway.engine) as session:
        return await _add_token(session, principal.id, name, expires_in_seconds)


async def list_tokens(
    gateway: Gateway, principal: Principal, *, limit: int, cursor: Cursor | None
) -> list[ApiTokenRow]:
    """A keyset page of the caller's API tokens."""
    return await read(
        gateway.engine, lambda session: tokens.of_user(session, principal.id, limit=limit, cursor=cursor)
    )


async def revoke_token(gateway: Gateway, principal: Principal, token_id: str) -> None:
    """End a token of the caller's: here at once, at other gateways within their cache's time."""
    async with write(gateway.engine) as session:
        digest = await tokens.revoke(session, token_id, user_id=principal.id)
    if digest is None:
        raise NotFound(f"you have no token {token_id!r}")
    gateway.credentials.forget(digest)


async def ensure_admin(
    engine: AsyncEngine, *, username: str, email: str, password: str, token_name: str
) -> str:
    """Make `username` an administrator with this password, and return a new API token of theirs.

    For an operator who has the database at hand, at the first start or after the credentials were lost:
    an account of this name is taken over, and its tokens of `token_name` are revoked. Raises `Taken` when
    the address belongs to another account.
    """
    password_hash = await Passwords().hash(password)
    async with write(engine) as session:
        user = await users.by_username(session, username)
        if user is None:
            new = users.NewUser(new_id(), username, email, password_hash, role="admin")
            user = await users.add(session, new)
            if user is None:
                raise Taken(["email"])
        else:
            await users.make_admin(session, user.id, password_hash=password_hash)
            await tokens.revoke_named(session, token_name, user_id=user.id)
        _, text = await _add_token(session, user.id, token_name, None)
        return text


async def _add_token(
    session: AsyncSession, user_id: str, name: str, expires_in_seconds: int | None
) -> tuple[ApiTokenRow, str]:
    token = ApiToken.new()
    ends = None if expires_in_seconds is None else datetime.now(UTC) + timedelta(seconds=expires_in_seconds)
    new = tokens.NewToken(new_id(), user_id, name, token.hint, token.digest, ends)
    return await tokens.add(session, new), token.text
