"""A short way to the busiest routes, past the framework's routing and dependencies."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

Endpoint = Callable[[Request], Awaitable[Response]]


class Shortcut:
    """Calls an endpoint by method and exact path; everything else goes the usual way.

    Routing, exception and exit-stack middleware and dependency injection cost more than half of what an
    accepted prediction costs. An endpoint here is registered with FastAPI too, for the API's
    description, and does its own parsing, authentication and limiting. Errors reach `RequestMiddleware`,
    which must stand before this.
    """

    def __init__(self, app: ASGIApp, *, endpoints: Mapping[tuple[str, str], Endpoint]) -> None:
        self._app = app
        self._endpoints = endpoints

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            endpoint = self._endpoints.get((scope["method"], scope["path"]))
            if endpoint is not None:
                response = await endpoint(Request(scope, receive))
                await response(scope, receive, send)
                return
        await self._app(scope, receive, send)
