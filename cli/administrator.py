"""The first administrator, whom `augury up` makes and whose credentials it keeps."""

from __future__ import annotations

import asyncio
import platform
import secrets
from pathlib import Path

from api.services.accounts import ensure_admin
from cli.client import Client, RequestRefused
from cli.data_directory import Credentials
from db.session import async_engine
from db.settings import DatabaseSettings

USERNAME = "admin"
_EMAIL = "admin@augury.invalid"


def still_valid(credentials: Credentials, url: str) -> bool:
    """Whether the server at `url` takes the token for an administrator's."""
    with Client(url, credentials.api_token) as client:
        try:
            return bool(client.me()["role"] == "admin")
        except RequestRefused:
            return False


def renew(url: str, database: DatabaseSettings, data_directory: Path) -> Credentials:
    """Make the administrator, or take the account over, with a new password and a new token."""
    password, token = take_over(database, f"augury up in {data_directory} on {platform.node()}")
    return Credentials(url, USERNAME, password, token)


def take_over(database: DatabaseSettings, token_name: str) -> tuple[str, str]:
    """A new password and a new API token of the administrator, whose account is made if there is none.

    Its earlier tokens of this name are revoked.
    """
    password = secrets.token_urlsafe(24)
    return password, asyncio.run(_ensure(database, password, token_name[:100]))


async def _ensure(database: DatabaseSettings, password: str, token_name: str) -> str:
    engine = async_engine(database)
    try:
        return await ensure_admin(
            engine, username=USERNAME, email=_EMAIL, password=password, token_name=token_name
        )
    finally:
        await engine.dispose()
