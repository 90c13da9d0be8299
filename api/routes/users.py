"""Accounts as their administrators see them, and what each may use."""

from __future__ import annotations

from fastapi import APIRouter, Request

from api.access import Administrator
from api.gateway import Gateway, gateway_of
from api.schemas import accounts as wire
from api.services import accounts
from db import tables

router = APIRouter(prefix="/v1/users", tags=["users"])


@router.get("/{username}")
async def get(request: Request, _: Administrator, username: str) -> wire.User:
    """An account, and what it has used this month."""
    gateway = gateway_of(request)
    return await _document(gateway, await accounts.find(gateway, username))


@router.patch("/{username}")
async def update(request: Request, _: Administrator, username: str, body: wire.UserPatch) -> wire.User:
    """Limit what an account may use in a calendar month (UTC): beyond it, new predictions are refused."""
    gateway = gateway_of(request)
    user = await accounts.limit_run_seconds(gateway, username, body.monthly_run_seconds)
    return await _document(gateway, user)


async def _document(gateway: Gateway, user: tables.User) -> wire.User:
    own = wire.Account.model_validate(user).model_dump()
    used = await gateway.quotas.used_seconds(user.id)
    return wire.User(**own, monthly_run_seconds=user.monthly_run_seconds, run_seconds_this_month=used)
