"""Absolute URLs of our own pages."""

from __future__ import annotations

from functools import lru_cache

from starlette.datastructures import URL
from starlette.requests import Request

# A client may name any host; most name the same one.
MAX_BASES = 256


def base_url(request: Request) -> str:
    """PUBLIC_URL, else the base of the request's own URL; without a slash at the end."""
    public_url: str | None = request.app.state.gateway.settings.public_url
    if public_url is not None:
        return public_url
    scope = request.scope
    return _base(scope["scheme"], request.headers.get("host"), scope["server"], scope.get("root_path", ""))


@lru_cache(MAX_BASES)
def _base(scheme: str, host: str | None, server: tuple[str, int] | None, root_path: str) -> str:
    headers = [] if host is None else [(b"host", host.encode("latin-1"))]
    scope = {"scheme": scheme, "server": server, "path": f"{root_path}/", "headers": headers}
    return str(URL(scope=scope)).rstrip("/")


def absolute(request: Request, path: str) -> str:
    """The URL of `path`, which begins with a slash."""
    return base_url(request) + path
