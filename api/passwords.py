"""Passwords, hashed with Argon2id (RFC 9106)."""

from __future__ import annotations

import asyncio
import secrets
from functools import cached_property

from passlib.context import CryptContext

# A hash takes about 0.14 s and 64 MiB; those that log in at once take turns.
MAX_AT_ONCE = 2


class Passwords:
    """Hashes and verifies in threads, a few at a time."""

    def __init__(self) -> None:
        self._context = CryptContext(schemes=["argon2"], argon2__type="ID")
        self._turns = asyncio.Semaphore(MAX_AT_ONCE)

    async def hash(self, password: str) -> str:
        async with self._turns:
            return await asyncio.to_thread(self._hash, password)

    async def verify(self, password: str, password_hash: str | None) -> tuple[bool, str | None]:
        """Whether this is the password, and a new hash of it where the old one is too weak by now.

        Without a hash the answer is no, after as much work: the time does not tell who has an account.
        """
        async with self._turns:
            return await asyncio.to_thread(self._verify, password, password_hash)

    def _hash(self, password: str) -> str:
        hashed: str = self._context.hash(password)
        return hashed

    def _verify(self, password: str, password_hash: str | None) -> tuple[bool, str | None]:
        nobodys = self._nobodys  # computed before the first answer of either kind
        matches, stronger = self._context.verify_and_update(password, password_hash or nobodys)
        if password_hash is None:
            return False, None
        return matches, stronger

    @cached_property
    def _nobodys(self) -> str:
        return self._hash(secrets.token_urlsafe())
