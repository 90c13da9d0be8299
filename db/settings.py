"""Where what is durable is: the database, and the store of files."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy import URL, make_url

SECRET_KEY_MIN_BYTES = 32
_SECRET_KEY_HOW = "make one with: python -c 'import secrets; print(secrets.token_urlsafe(48))'"  # noqa: S105 - a command
# Of eight letters and more, so that a random key holds one of them less than once in 10^9 times.
_PLACEHOLDERS: Sequence[str] = (
    "changeme", "change-me", "change_me", "change-this", "change_this", "your-secret", "your_secret",
    "yoursecret", "secret-key", "secret_key", "secretkey", "supersecret", "super-secret", "insecure",
    "placeholder", "replace-me", "replace_me", "development", "password",
)  # fmt: skip


def _is_secret(value: SecretStr) -> SecretStr:
    key = value.get_secret_value()
    if len(key.encode()) < SECRET_KEY_MIN_BYTES:
        raise ValueError(f"must have at least {SECRET_KEY_MIN_BYTES} bytes; {_SECRET_KEY_HOW}")
    if len(set(key)) < 10 or any(word in key.lower() for word in _PLACEHOLDERS):
        raise ValueError(f"looks like a placeholder; {_SECRET_KEY_HOW}")
    return value


SecretKey = Annotated[SecretStr, AfterValidator(_is_secret)]
"""The installation's secret; what looks like a placeholder is refused."""


class DatabaseSettings(BaseSettings):
    """Settings of the PostgreSQL connection, read from the environment and `.env`."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore")

    database_url: str = Field(description="PostgreSQL connection string, postgresql://user:password@host/db.")
    database_force_ipv4: bool = Field(True, description="Resolve PostgreSQL host names to IPv4 only.")
    database_hostaddr: str | None = Field(None, description="Overrides the PostgreSQL host's address.")
    database_pool_size: int = Field(10, ge=1, description="Connections that one process keeps open at most.")
    database_connect_timeout_seconds: int = Field(2, ge=2, description="How long to wait for a connection.")

    @field_validator("database_url")
    @classmethod
    def _is_postgresql(cls, value: str) -> str:
        if not make_url(value).drivername.startswith("postgres"):
            raise ValueError(
                "DATABASE_URL must be a PostgreSQL URL: postgresql://user:password@host:5432/name"
            )
        return value

    @field_validator("database_hostaddr", mode="before")
    @classmethod
    def _empty_is_none(cls, value: str | None) -> str | None:
        return value or None

    def url(self) -> URL:
        """The SQLAlchemy URL, by the psycopg driver."""
        url = make_url(self.database_url).set(drivername="postgresql+psycopg")
        return url.update_query_dict({"connect_timeout": str(self.database_connect_timeout_seconds)})

    def conninfo(self) -> str:
        """A libpq connection string with the address to dial, looked up now: ask before each connection."""
        url = self.url().set(drivername="postgresql")
        address = self.hostaddr()
        if address:
            url = url.update_query_dict({"hostaddr": address})
        return url.render_as_string(hide_password=False)

    def hostaddr(self) -> str | None:
        """The address to dial instead of the host's name, if there is one.

        It is looked up each time, since a server that comes back may have another one.
        """
        if self.database_hostaddr:
            return self.database_hostaddr
        host = make_url(self.database_url).host
        if not self.database_force_ipv4 or not host or host.startswith("/"):
            return None
        try:
            ip_address(host)
        except ValueError:
            return _first_ipv4(host)
        return None


class BlobSettings(BaseSettings):
    """Settings of the store of files, read from the environment and `.env`."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore")

    blob_store: str = Field(
        ".augury/blobs", min_length=1, description="Where files are kept: a directory, or s3://bucket/prefix."
    )
    blob_url_seconds: int = Field(
        24 * 3600,
        ge=1,
        description="For how long the URL of a file is good; whoever has it may fetch the file.",
    )

    @field_validator("blob_store")
    @classmethod
    def _is_known(cls, value: str) -> str:
        scheme, separator, rest = value.partition("://")
        if separator and (scheme != "s3" or not rest.strip("/")):
            raise ValueError("must be a directory, or a URL such as s3://bucket/prefix")
        return value.rstrip("/") or "/"


def _first_ipv4(host: str) -> str | None:
    """The first IPv4 address of `host`; None when it has none now, so that connecting tells the reason."""
    try:
        found = socket.getaddrinfo(host, None, socket.AF_INET, socket.SOCK_STREAM)
    except socket.gaierror:
        return None
    return str(found[0][4][0])
