"""Absolute URLs of our own pages."""

from __future__ import annotations

from starlette.requests import Request


def base_url(request: Request) -> str:
    """PUBLIC_URL, else the base of the request's own URL; without a slash at the end."""
    public_url: str | None = request.app.state.gateway.settings.public_url
    return public_url or str(request.base_url).rstrip("/")


def absolute(request: Request, path: str) -> str:
    """The URL of `path`, which begins with a slash."""
    return base_url(request) + path
