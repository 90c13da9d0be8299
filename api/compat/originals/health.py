"""Health checks by the names that monitors of other servers know."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from api.routes.health import live, ready

router = APIRouter(tags=["health"])
router.add_api_route("/health_check", live)
router.add_api_route("/healthz", ready, response_model=dict[str, Any])
