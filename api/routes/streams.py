"""Streams of predictions, by the URLs that predictions show."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

from fastapi import APIRouter, Request, Response
from starlette.types import Receive, Scope, Send

from api.gateway import gateway_of
from api.limits import RouteClass, limit
from api.services.streams import Follower, prediction_of
from api.streams import Position, is_over
from api.urls import base_url
from db.stream_urls import STREAMS_PATH

router = APIRouter(prefix=STREAMS_PATH, tags=["predictions"])

# Proxies are to pass on each event at once.
HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


class EventStream(Response):
    """Server-sent events, until they end or the client goes away."""

    media_type = "text/event-stream"

    def __init__(self, follower: Follower) -> None:
        super().__init__(headers=HEADERS)
        # Nobody knows how long it becomes.
        del self.headers["content-length"]
        self._follower = follower

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        watching = asyncio.create_task(self._watch_client(receive))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            async with aclosing(self._follower.events()) as parts:
                async for events in parts:
                    await send({"type": "http.response.body", "body": events, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            watching.cancel()

    async def _watch_client(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            continue
        self._follower.leave()


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
