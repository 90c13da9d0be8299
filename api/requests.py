"""What happens to every request: its id, its size, its errors, its headers and its line in the log."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import ERROR_SHAPE, BodyTooLarge, answer
from api.logs import request_id
from db.ids import new_id

log = logging.getLogger("api.access")

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
# Keys of ours in an ASGI scope.
PRINCIPAL = "augury.principal"
RATE_LIMIT = "augury.rate_limit"


@dataclass(frozen=True, slots=True)
class Surface:
    """How answers look to the clients of another API, on the paths with these beginnings.

    `error_shape` makes an error's answer, `headers` adds to every answer by its scope and its seconds so far.
    """

    paths: tuple[str, ...]
    error_shape: Callable[[Exception], Response]
    headers: Callable[[Scope, float], list[tuple[bytes, bytes]]]


class RequestMiddleware:
    """Stands before every request. Pure ASGI: Starlette's BaseHTTPMiddleware costs several times as much."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        max_body_bytes: int,
        max_bytes_of: Mapping[str, int],
        surfaces: Sequence[Surface] = (),
    ) -> None:
        """`max_bytes_of` has the paths whose bodies may be of another size than `max_body_bytes`."""
        self._app = app
        self._surfaces = surfaces
        self._max_body_bytes = max_body_bytes
        self._max_bytes_of = max_bytes_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        max_body_bytes = self._max_bytes_of.get(scope["path"], self._max_body_bytes)
        exchange = _Exchange(scope, receive, send, _id_of(headers), max_body_bytes)
        for surface in self._surfaces:
            if scope["path"].startswith(surface.paths):
                exchange.surface = surface
                scope[ERROR_SHAPE] = surface.error_shape
        request_id.set(exchange.id)
        try:
            if _declared_bytes(headers) > max_body_bytes:
                raise BodyTooLarge(max_body_bytes)
            await self._app(scope, exchange.receive, exchange.send)
        except Exception as error:
            if exchange.status:  # too late for another answer: the server cuts the connection
                raise
            await answer(error, scope)(scope, receive, exchange.send)
        finally:
            exchange.log()


@dataclass(slots=True)
class _Exchange:
    """One request and its answer on their way through."""

    scope: Scope
    _receive: Receive
    _send: Send
    id: str
    max_body_bytes: int
    started_at: float = field(default_factory=time.perf_counter)
    status: int = 0
    body_bytes: int = 0
    surface: Surface | None = None

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self.body_bytes += len(message.get("body", b""))
            if self.body_bytes > self.max_body_bytes:
                raise BodyTooLarge(self.max_body_bytes)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [*message.get("headers", ()), (b"x-request-id", self.id.encode())]
            if RATE_LIMIT in self.scope:
                headers += self.scope[RATE_LIMIT].headers()
            if self.surface is not None:
                headers += self.surface.headers(self.scope, time.perf_counter() - self.started_at)
            message["headers"] = headers
        await self._send(message)

    def log(self) -> None:
        if not log.isEnabledFor(logging.INFO):
            return
        milliseconds = (time.perf_counter() - self.started_at) * 1000
        principal = self.scope.get(PRINCIPAL)
        log.info(
            "%s %s %d %.1f ms %s",
            self.scope["method"],
            _template(self.scope),
            self.status,
            milliseconds,
            principal.id if principal else "-",
        )


def _id_of(headers: dict[bytes, bytes]) -> str:
    """The client's own id where it is fit for a log, else a new one."""
    given = headers.get(b"x-request-id")
    return given.decode() if given and _REQUEST_ID.fullmatch(given) else new_id()


def _declared_bytes(headers: dict[bytes, bytes]) -> int:
    """What Content-Length says; 0 where it says nothing. The server has refused what is not a number."""
    declared = headers.get(b"content-length", b"0")
    return int(declared) if declared.isdigit() else 0


def _template(scope: Scope) -> str:
    """The route's path with its parameters' names, else the path as far as it fits in one line."""
    path: str | None = getattr(scope.get("route"), "path", None)
    return path or quote(scope["path"][:200])
