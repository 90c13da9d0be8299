"""Who may call a route, and at what pace: one annotated parameter says both."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends
from fastapi.security import OAuth2PasswordBearer
from starlette.requests import Request

from api.auth import Principal, admit, authenticate, identify
from api.errors import Forbidden
from api.limits import RouteClass, limit

# Only tells /docs how to log in; `authenticate` reads the header.
_Documented = Annotated[str | None, Depends(OAuth2PasswordBearer("/v1/auth/token", auto_error=False))]


async def reader(request: Request, _: _Documented) -> Principal:
    principal = await authenticate(request)
    await limit(request, principal, RouteClass.READ)
    return principal


async def creator(request: Request, _: _Documented) -> Principal:
    principal = await authenticate(request)
    await limit(request, principal, RouteClass.CREATE)
    return principal


async def administrator(principal: Annotated[Principal, Depends(creator)]) -> Principal:
    if not principal.is_admin:
        raise Forbidden("only administrators may do this")
    return principal


async def visitor(request: Request, _: _Documented) -> Principal | None:
    principal = await identify(request)
    await limit(request, principal, RouteClass.READ)
    return principal


async def guest(request: Request, _: _Documented) -> Principal:
    return await admit(request, RouteClass.READ)


async def holder(request: Request) -> None:
    await limit(request, None, RouteClass.READ)


async def stranger(request: Request) -> None:
    await limit(request, None, RouteClass.LOGIN)


Reader = Annotated[Principal, Depends(reader)]
"""A caller who reads."""
Creator = Annotated[Principal, Depends(creator)]
"""A caller who changes something."""
Administrator = Annotated[Principal, Depends(administrator)]
"""An administrator who changes something."""
Visitor = Annotated[Principal | None, Depends(visitor)]
"""Anybody who reads; None without credentials."""
Guest = Annotated[Principal, Depends(guest)]
"""Who reads by the API of another server: by ALLOW_ANONYMOUS, also who has no token."""
Stranger = Annotated[None, Depends(stranger)]
"""Somebody who wants to enter, known by address only."""
Holder = Annotated[None, Depends(holder)]
"""Whoever has a signed URL, known by address only: credentials that come along are not looked at."""
