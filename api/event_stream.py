"""An answer that is a stream of server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Protocol

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

# Proxies are to pass on each event at once.
HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


class Source(Protocol):
    """Where a client's events come from."""

    def events(self) -> AsyncGenerator[bytes, None]:
        """Events as bytes, several at a time where there are several."""
        ...

    def leave(self) -> None:
        """The client has gone: `events` ends soon."""
        ...


class EventStream(Response):
    """Server-sent events, until they end or the client goes away."""

    media_type = "text/event-stream"

    def __init__(self, source: Source) -> None:
        super().__init__(headers=HEADERS)
        # Nobody knows how long it becomes.
        del self.headers["content-length"]
        self._source = source

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        watching = asyncio.create_task(self._watch_client(receive))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            async with aclosing(self._source.events()) as parts:
                async for events in parts:
                    await send({"type": "http.response.body", "body": events, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            watching.cancel()

    async def _watch_client(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            continue
        self._source.leave()
