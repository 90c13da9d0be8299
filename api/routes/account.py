"""The caller's account, and the hardware that there is, as Replicate's clients ask for them."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from api.access import Reader, Visitor
from api.gateway import gateway_of
from api.schemas.lanes import Hardware
from db.repositories import lanes
from db.repositories.transactions import read

router = APIRouter(prefix="/v1", tags=["account"])

_NAMES = {"cpu": "CPU", "cuda": "GPU (CUDA)", "mps": "Apple GPU (Metal)"}


class Account(BaseModel):
    """Who the caller is."""

    type: Literal["user", "organization"] = "user"
    username: str
    name: str
    github_url: None = Field(None, description="Accounts here have none.")
    monthly_run_seconds: float | None = Field(description="What it may use in a month; null: no limit.")
    run_seconds_this_month: float = Field(description="How long this month's predictions have run.")


@router.get("/account")
async def account(request: Request, principal: Reader) -> Account:
    """The account that the token belongs to, and what it has used; `GET /v1/auth/me` says more."""
    return Account(
        username=principal.username,
        name=principal.username,
        monthly_run_seconds=principal.monthly_run_seconds,
        run_seconds_this_month=await gateway_of(request).quotas.used_seconds(principal.id),
    )


@router.get("/hardware")
async def hardware(request: Request, _: Visitor) -> list[Hardware]:
    """What models can run on: the kinds of device that live lanes have, and the CPU in any case."""
    gateway = gateway_of(request)
    lease_seconds = gateway.settings.lease_seconds
    devices = await read(gateway.engine, lambda session: lanes.devices(session, lease_seconds=lease_seconds))
    return [Hardware(sku=sku, name=name) for sku, name in _NAMES.items() if sku in {"cpu", *devices}]
