"""Streams of predictions, by the URLs that predictions show."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from api.event_stream import EventStream
from api.gateway import gateway_of
from api.limits import RouteClass, limit
from api.services.streams import Follower, prediction_of
from api.streams import Position, is_over
from api.urls import base_url
from db.stream_urls import STREAMS_PATH

router = APIRouter(prefix=STREAMS_PATH, tags=["predictions"])


@router.get(
    "/{token}",
    status_code=200,
    response_class=EventStream,
    responses={
        200: {
            "description": "Events called `output`, `logs`, `error` and `done`, as they come.",
            "content": {"text/event-stream": {}},
        },
        204: {"description": "`Last-Event-ID` is that of `done`: there is no more."},
        403: {"description": "The URL is not valid, or has expired."},
    },
)
async def follow(request: Request, token: str, last_event_id: str = "") -> Response:
    """Follow a prediction, whoever has the URL: from its beginning, or on from the event `Last-Event-ID`."""
    await limit(request, None, RouteClass.READ)
    gateway = gateway_of(request)
    prediction_id = prediction_of(gateway, token)
    since = request.headers.get("last-event-id", last_event_id)
    if is_over(since):
        # The one answer that keeps an EventSource from coming again.
        return Response(status_code=204)
    return EventStream(Follower(gateway, prediction_id, Position.read(since), base_url=base_url(request)))
