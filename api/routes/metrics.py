"""Metrics for Prometheus."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from api.access import Visitor
from api.errors import Forbidden, Unauthorized
from api.gateway import gateway_of
from db.errors import NotFound

router = APIRouter(tags=["health"])


@router.get("/metrics", response_class=Response)
async def read(request: Request, visitor: Visitor) -> Response:
    """What lanes and queues tell Prometheus: for administrators, or for everybody by METRICS_PUBLIC."""
    gateway = gateway_of(request)
    if not gateway.settings.enable_metrics:
        raise NotFound("this server tells no metrics")
    if not gateway.settings.metrics_public:
        if visitor is None:
            raise Unauthorized("a token is needed: Authorization: Bearer <token>")
        if not visitor.is_admin:
            raise Forbidden("only administrators may read the metrics here")
    # Not on import: the library brings wsgiref, which reads the whole environment.
    from api.services import metrics

    return Response(await metrics.exposition(gateway), media_type=metrics.CONTENT_TYPE_LATEST)
