"""Lanes: who is there to serve predictions, and what they hold in memory."""

from __future__ import annotations

from fastapi import APIRouter, Request

from api.access import Reader
from api.errors import Forbidden
from api.gateway import gateway_of
from api.schemas import lanes as wire
from db.repositories import lanes
from db.repositories.transactions import read

router = APIRouter(prefix="/v1/lanes", tags=["lanes"])


@router.get("")
async def browse(request: Request, principal: Reader) -> wire.Lanes:
    """The lanes that are alive, for administrators."""
    if not principal.is_admin:
        raise Forbidden("only administrators may look at lanes")
    gateway = gateway_of(request)
    found = await read(
        gateway.engine,
        lambda session: lanes.alive(session, lease_seconds=gateway.settings.lease_seconds),
    )
    return wire.Lanes(results=[wire.Lane.of(row) for row in found])
