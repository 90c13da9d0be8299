"""Who calls: the Authorization header, read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.requests import Request

from api.credentials import Principal
from api.errors import Unauthorized
from api.limits import RouteClass, limit
from api.requests import PRINCIPAL

if TYPE_CHECKING:
    from api.gateway import Gateway

__all__ = ["Principal", "authenticate", "credential_of", "identify"]

_SCHEMES = ("bearer", "token")


async def authenticate(request: Request) -> Principal:
    """The caller, by `Authorization: Bearer|Token <access token or API token>`. Raises `Unauthorized`.

    A token that this process has not seen for a moment costs a look into the database, and counts
    against its client's address: guessing has the pace of anonymous reading.
    """
    gateway: Gateway = request.app.state.gateway
    try:
        credential = credential_of(request)
        principal = gateway.credentials.remembered(credential)
    except Unauthorized:
        await limit(request, None, RouteClass.READ)
        raise
    if principal is None:
        await limit(request, None, RouteClass.READ)
        principal = await gateway.credentials.holder(credential)
    request.scope[PRINCIPAL] = principal
    return principal


async def identify(request: Request) -> Principal | None:
    """The caller, or None for one without credentials. Raises `Unauthorized` for wrong ones."""
    return await authenticate(request) if "authorization" in request.headers else None


def credential_of(request: Request) -> str:
    """The token in the Authorization header, valid or not. Raises `Unauthorized` where there is none."""
    scheme, _, credential = request.headers.get("authorization", "").partition(" ")
    credential = credential.strip()
    if scheme.lower() not in _SCHEMES or not credential:
        raise Unauthorized("a token is needed: Authorization: Bearer <token>")
    return credential
