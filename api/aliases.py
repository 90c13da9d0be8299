"""Other paths by which clients come to the API: their base URL may have a /v1 too many or too few."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable

from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

API = "/v1"


class Aliases:
    """Gives requests the path that they mean; must stand before all that looks at paths.

    Replicate's clients do not agree on whether the base URL ends in /v1, and read it from one environment
    variable: /v1/v1/predictions and /predictions are /v1/predictions. A slash at the end says nothing.
    Nobody is redirected, which not all of them follow.
    """

    def __init__(self, app: ASGIApp, *, routes: Iterable[BaseRoute]) -> None:
        self._app = app
        paths = [route.path.split("/") for route in routes if isinstance(route, Route)]
        own = {parts[1] for parts in paths}
        # What has a page of its own without /v1 keeps it.
        self._nouns = {parts[2] for parts in paths if parts[1:2] == [API[1:]]} - own

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "http":
            scope["path"] = self._meant(scope["path"])
        return self._app(scope, receive, send)

    def _meant(self, path: str) -> str:
        if path.endswith("/") and len(path) > 1:
            path = path[:-1]
        if path.startswith(API + "/"):
            return path.removeprefix(API) if path.startswith(API + API + "/") else path
        return API + path if path.split("/")[1] in self._nouns else path
