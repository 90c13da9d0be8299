"""Access tokens, API tokens and invitations: how they are made, read and remembered."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from jose import JWTError, jwt
from sqlalchemy.ext.asyncio import AsyncEngine

from api.cache import TimedCache
from api.errors import Unauthorized
from db.ids import ID_LENGTH, new_id
from db.repositories import tokens, users
from db.repositories.transactions import read
from db.tables import User

ALGORITHM = "HS256"
ACCESS_AUDIENCE = "augury:access"
INVITE_AUDIENCE = "augury:invite"
LEEWAY_SECONDS = 10
API_TOKEN_PREFIX = "aug_"  # noqa: S105 - says what follows
HINT_LENGTH = 8
_DOTS_IN_JWT = 2
MAX_CACHED = 10_000


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls."""

    id: str
    username: str
    role: str
    monthly_run_seconds: float | None = None

    @classmethod
    def of(cls, user: User) -> Principal:
        """The holder of this account."""
        return cls(user.id, user.username, user.role, user.monthly_run_seconds)

    @property
    def is_admin(self) -> bool:
        return self.role == "admin"

    @property
    def is_anonymous(self) -> bool:
        """Whether this stands for all who have no token: what it owns is nobody's in particular."""
        return self.id == ANONYMOUS.id


# No row stands behind it, and no account can be called so: there is nothing to log in to.
ANONYMOUS = Principal("0" * ID_LENGTH, "(anonymous)", "user")


class Signer:
    """Makes and reads JSON Web Tokens (RFC 7519), signed with the installation's secret key."""

    def __init__(self, secret_key: str) -> None:
        self._secret_key = secret_key

    def sign(self, audience: str, *, seconds: float, **claims: str) -> str:
        """A token for one purpose, good for `seconds`."""
        now = int(time.time())
        payload = {**claims, "aud": audience, "iat": now, "exp": now + int(seconds)}
        return jwt.encode(payload, self._secret_key, algorithm=ALGORITHM)

    def read(self, token: str, audience: str, *, required: str) -> dict[str, Any]:
        """The token's claims. Raises `Unauthorized` for one not of ours, of another purpose, or too old."""
        options = {f"require_{claim}": True for claim in ("exp", "iat", "aud", required)}
        try:
            return jwt.decode(
                token,
                self._secret_key,
                algorithms=[ALGORITHM],
                audience=audience,
                options={**options, "leeway": LEEWAY_SECONDS},
            )
        except JWTError:
            raise Unauthorized("the token is not valid, or no longer") from None


@dataclass(frozen=True, slots=True)
class ApiToken:
    """A new API token: its text, which nobody can read again, and what is kept of it."""

    text: str
    hint: str
    digest: bytes

    @classmethod
    def new(cls) -> ApiToken:
        """A token of 256 random bits."""
        text = API_TOKEN_PREFIX + secrets.token_urlsafe(32)
        return cls(text, text[:HINT_LENGTH], digest_of(text))


def looks_issued(credential: str) -> bool:
    """Whether it has the form of a token that a server like this one has given out, valid or not."""
    return credential.startswith(API_TOKEN_PREFIX) or credential.count(".") == _DOTS_IN_JWT


def digest_of(credential: str) -> bytes:
    """What stands for a credential in the database and in memory."""
    return sha256(credential.encode("utf-8", "surrogateescape")).digest()


class Credentials:
    """Tells whose a token is, and remembers it for a moment by the token's digest, never by its text."""

    def __init__(self, engine: AsyncEngine, signer: Signer, *, cache_seconds: float) -> None:
        self._engine = engine
        self._signer = signer
        self._cache: TimedCache[bytes, Principal] = TimedCache(seconds=cache_seconds, max_entries=MAX_CACHED)
        self._revocations = 0

    def remembered(self, credential: str) -> Principal | None:
        """The holder of a token that was seen a moment ago; costs microseconds."""
        return self._cache.get(digest_of(credential))

    async def holder(self, credential: str) -> Principal:
        """The holder of a token, by the database. Raises `Unauthorized`."""
        revocations = self._revocations
        if credential.startswith(API_TOKEN_PREFIX):
            user, seconds_left = await self._holder_of_api_token(credential)
        else:
            user, seconds_left = await self._holder_of_access_token(credential)
        principal = Principal.of(user)
        # What was revoked while we read may have been read before it was.
        if revocations == self._revocations:
            self._cache.put(digest_of(credential), principal, seconds=seconds_left)
        return principal

    def forget(self, digest: bytes) -> None:
        """A token has been revoked: it ends here at once."""
        self._revocations += 1
        self._cache.drop(digest)

    def forget_all(self) -> None:
        """Something about an account has changed: its holder is looked up anew."""
        self._revocations += 1
        self._cache.clear()

    async def _holder_of_api_token(self, token: str) -> tuple[User, float | None]:
        found = await read(self._engine, lambda session: tokens.holder(session, digest_of(token)))
        if found is None:
            raise Unauthorized("the token is not valid, or no longer")
        user, expires_at = found
        return user, None if expires_at is None else (expires_at - datetime.now(UTC)).total_seconds()

    async def _holder_of_access_token(self, token: str) -> tuple[User, float]:
        claims = self._signer.read(token, ACCESS_AUDIENCE, required="sub")
        user = await read(self._engine, lambda session: users.by_id(session, claims["sub"]))
        if user is None or user.disabled_at is not None:
            raise Unauthorized("the token's account does not exist any more")
        return user, claims["exp"] + LEEWAY_SECONDS - time.time()


def access_token(signer: Signer, user_id: str, *, seconds: int) -> str:
    """What a login gives: proof, for `seconds`, that its holder is this user."""
    return signer.sign(ACCESS_AUDIENCE, seconds=seconds, sub=user_id)


def invitation(signer: Signer, *, seconds: int) -> str:
    """Lets one person register. Its id goes into the account that it makes, so it serves once."""
    return signer.sign(INVITE_AUDIENCE, seconds=seconds, jti=new_id())
