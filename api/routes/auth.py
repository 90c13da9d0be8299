"""Accounts, logins and API tokens."""

from __future__ import annotations

from operator import attrgetter
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, status
from fastapi.security import OAuth2PasswordRequestForm

from api.access import Administrator, Creator, Reader, Stranger
from api.gateway import gateway_of
from api.limits import RouteClass, limit
from api.pages import MAX_LIMIT, CursorQuery, LimitQuery, Page, page
from api.schemas.accounts import (
    AccessToken,
    Account,
    Invite,
    InviteRequest,
    NewToken,
    Registration,
    Token,
    TokenPage,
    TokenRequest,
)
from api.services import accounts

router = APIRouter(prefix="/v1/auth", tags=["auth"])


@router.post("/register", status_code=status.HTTP_201_CREATED, response_model=Account)
async def register(request: Request, _: Stranger, body: Registration) -> Any:
    """Make an account; an administrator's setting says who may."""
    return await accounts.register(gateway_of(request), **body.model_dump())


@router.post("/token", response_model=AccessToken)
async def log_in(request: Request, _: Stranger, form: Annotated[OAuth2PasswordRequestForm, Depends()]) -> Any:
    """Exchange a user name and a password for an access token (RFC 6749 §4.3)."""
    await limit(request, None, RouteClass.LOGIN, account=form.username)
    return await accounts.log_in(gateway_of(request), username=form.username, password=form.password)


@router.get("/me", response_model=Account)
async def me(request: Request, principal: Reader) -> Any:
    """The caller's account."""
    return await accounts.account(gateway_of(request), principal)


@router.post("/invites", status_code=status.HTTP_201_CREATED)
async def invite(request: Request, _: Administrator, body: InviteRequest) -> Invite:
    """Make an invitation, with which one person can register."""
    text, ends = accounts.invite(gateway_of(request), expires_in_seconds=body.expires_in_seconds)
    return Invite(invite=text, expires_at=ends)


@router.post("/tokens", status_code=status.HTTP_201_CREATED)
async def create_token(request: Request, principal: Creator, body: TokenRequest) -> NewToken:
    """Make an API token for a machine. Its text is shown this once."""
    row, text = await accounts.create_token(gateway_of(request), principal, **body.model_dump())
    return NewToken(**Token.model_validate(row).model_dump(), token=text)


@router.get("/tokens", response_model=TokenPage)
async def list_tokens(
    request: Request, principal: Reader, cursor: CursorQuery, limit: LimitQuery = MAX_LIMIT
) -> Page:
    """The caller's API tokens, without their texts."""
    rows = await accounts.list_tokens(gateway_of(request), principal, limit=limit, cursor=cursor)
    return page(request, rows, limit=limit, cursor=cursor, key=attrgetter("id"))


@router.delete("/tokens/{token_id}", status_code=status.HTTP_204_NO_CONTENT)
async def revoke_token(request: Request, principal: Creator, token_id: str) -> None:
    """Revoke an API token."""
    await accounts.revoke_token(gateway_of(request), principal, token_id)
