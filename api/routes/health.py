"""Whether the gateway lives, and whether it can do its work."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter, Request, status
from starlette.responses import JSONResponse

from api.access import Visitor
from api.gateway import gateway_of
from api.services import health

router = APIRouter(tags=["health"])


@router.get("/health", response_model=dict[Literal["status"], Literal["ok", "starting"]])
async def live(request: Request) -> JSONResponse:
    """The process lives: 503 until it has been ready once, from then on 200 whatever else is away.

    It has no limit: a monitor must always get through. Once ready, it touches nothing else.
    """
    gateway = gateway_of(request)
    if await gateway.startup.is_over(gateway):
        return JSONResponse({"status": "ok"})
    return JSONResponse({"status": "starting"}, status.HTTP_503_SERVICE_UNAVAILABLE, {"Retry-After": "1"})


@router.get("/ready", response_model=dict[str, Any])
async def ready(request: Request, _: Visitor) -> JSONResponse:
    """Whether predictions are accepted and will run: 200, or 503 without the database or a lane.

    `degraded` says that it works without Redis: it starts predictions later, and limits hold per process.
    """
    found = await health.readiness(gateway_of(request))
    code = status.HTTP_200_OK if found.is_ready else status.HTTP_503_SERVICE_UNAVAILABLE
    return JSONResponse(found.report(), code)
