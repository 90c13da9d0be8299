"""Who calls: the Authorization header, read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.requests import Request

from api.credentials import ANONYMOUS, Principal, looks_issued
from api.errors import Unauthorized
from api.limits import RouteClass, limit
from api.requests import PRINCIPAL

if TYPE_CHECKING:
    from api.gateway import Gateway

__all__ = ["Principal", "admit", "authenticate", "credential_of", "identify"]

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
    is_nobody = "authorization" not in request.headers or _is_anonymous(request)
    return None if is_nobody else await authenticate(request)


async def admit(request: Request, route_class: RouteClass) -> Principal:
    """Who uses the API of another server, within their limit: by ALLOW_ANONYMOUS, also who has no token.

    Raises `Unauthorized` and `RateLimited`.
    """
    if _is_anonymous(request):
        pace = RouteClass.ANONYMOUS if route_class is RouteClass.CREATE else route_class
        await limit(request, None, pace)
        request.scope[PRINCIPAL] = ANONYMOUS
        return ANONYMOUS
    principal = await authenticate(request)
    await limit(request, principal, route_class)
    return principal


def credential_of(request: Request) -> str:
    """The token in the Authorization header, valid or not. Raises `Unauthorized` where there is none."""
    scheme, _, credential = request.headers.get("authorization", "").partition(" ")
    credential = credential.strip()
    if scheme.lower() not in _SCHEMES or not credential:
        raise Unauthorized("a token is needed: Authorization: Bearer <token>")
    return credential


def _is_anonymous(request: Request) -> bool:
    """Whether who calls needs no token and has none, where that is let in.

    Some clients cannot but send a key, so people make one up: what has not the form of a token is none.
    """
    gateway: Gateway = request.app.state.gateway
    if not gateway.settings.allow_anonymous:
        return False
    return not any(map(looks_issued, request.headers.get("authorization", "").split()))
