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


@router.get("/account")
async def account(principal: Reader) -> Account:
    """The account that the token belongs to; `GET /v1/auth/me` says more."""
    return Account(username=principal.username, name=principal.username)


@router.get("/hardware")
async def hardware(request: Request, _: Visitor) -> list[Hardware]:
    """What models can run on: the kinds of device that live lanes have, and the CPU in any case."""
    gateway = gateway_of(request)
    lease_seconds = gateway.settings.lease_seconds
    devices = await read(gateway.engine, lambda session: lanes.devices(session, lease_seconds=lease_seconds))
    return [Hardware(sku=sku, name=name) for sku, name in _NAMES.items() if sku in {"cpu", *devices}]
