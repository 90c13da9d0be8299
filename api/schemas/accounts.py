"""Accounts and tokens on the wire."""

from __future__ import annotations

from typing import Annotated, Literal

from email_validator import EmailNotValidError, validate_email
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from api.schemas.fields import Moment, PlainText

DAY_SECONDS = 24 * 3600
YEAR_SECONDS = 365 * DAY_SECONDS


def _email(address: str) -> str:
    try:
        # A short host name of an own network is fine: nothing is sent there but by the operator.
        return validate_email(address, check_deliverability=False, globally_deliverable=False).normalized
    except EmailNotValidError as error:
        raise ValueError(str(error)) from None


Email = Annotated[str, Field(max_length=254), AfterValidator(_email)]


class Registration(BaseModel):
    """Who wants an account."""

    model_config = ConfigDict(extra="forbid")

    username: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,38}$", examples=["testuser"])
    email: Email = Field(examples=["test@example.com"])
    password: str = Field(min_length=8, max_length=256, examples=["correct horse battery staple"])
    invite: str | None = Field(None, max_length=2048, description="Where registration takes an invitation.")


class Account(BaseModel):
    """An account as its holder sees it."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    username: str
    email: str
    role: Literal["user", "admin"]
    created_at: Moment


class User(Account):
    """An account as an administrator sees it."""

    monthly_run_seconds: float | None = Field(description="What it may use in a month; null: no limit.")
    run_seconds_this_month: float = Field(description="How long this month's predictions have run.")


class UserPatch(BaseModel):
    """What an administrator changes of an account."""

    model_config = ConfigDict(extra="forbid")

    monthly_run_seconds: float | None = Field(
        ge=0, allow_inf_nan=False, description="How long predictions made in a calendar month (UTC) may run."
    )


class AccessToken(BaseModel):
    """What a login gives (RFC 6749 §5.1)."""

    model_config = ConfigDict(from_attributes=True)

    access_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - the protocol's word
    expires_in: int = Field(description="Seconds.")


class InviteRequest(BaseModel):
    """How long an invitation is to last."""

    model_config = ConfigDict(extra="forbid")

    expires_in_seconds: int = Field(7 * DAY_SECONDS, ge=60, le=YEAR_SECONDS)


class Invite(BaseModel):
    """An invitation: whoever has it may register once."""

    invite: str
    expires_at: Moment


class TokenRequest(BaseModel):
    """An API token to be made."""

    model_config = ConfigDict(extra="forbid")

    name: PlainText = Field(min_length=1, max_length=100, examples=["ci"])
    expires_in_seconds: int | None = Field(None, ge=60, le=10 * YEAR_SECONDS)


class Token(BaseModel):
    """An API token as it is listed."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    name: str
    hint: str = Field(description="How it begins.")
    created_at: Moment
    expires_at: Moment | None


class NewToken(Token):
    """An API token, this once with its text."""

    token: str


class TokenPage(BaseModel):
    """A page of API tokens, the newest first."""

    results: list[Token]
    next: str | None
    previous: str | None
