"""From an HTTP request to a body that has been let in and read."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from api.auth import admit, credential_of
from api.compat.openai.errors import ClientGone
from api.credentials import Principal
from api.errors import Invalid, plain
from api.limits import RouteClass
from api.stopping import stop

B = TypeVar("B", bound=BaseModel)
T = TypeVar("T")

TIDY_SECONDS = 10.0

REDACTED = b"[redacted]"


async def admitted(request: Request, body_type: type[B]) -> tuple[Principal, B]:
    """Who calls, within their limit, and what the body says.

    Raises `Unauthorized`, `RateLimited` and `Invalid`.
    """
    principal = await admit(request, RouteClass.CREATE)
    body = await request.body()
    if not principal.is_anonymous:
        # Some send their token along, where it would be stored and shown.
        body = body.replace(credential_of(request).encode(), REDACTED)
    try:
        return principal, body_type.model_validate_json(body)
    except ValidationError as error:
        raise invalid(error) from None


def invalid(error: ValidationError) -> Invalid:
    """What a request's schema says of it."""
    return Invalid([(_field(item["loc"]), plain(item["msg"])) for item in error.errors(include_url=False)])


def _field(path: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in path) or "body"


def described(body_type: type[BaseModel], **extra: Any) -> dict[str, Any]:
    """What FastAPI is told of a route that reads such a body by hand."""
    content = {"application/json": {"schema": schema_of(body_type)}}
    return {"requestBody": {"required": True, "content": content}, "security": [{"HTTPBearer": []}], **extra}


def schema_of(body_type: type[BaseModel]) -> dict[str, Any]:
    """The JSON Schema of a body, in one piece."""
    schema = body_type.model_json_schema()
    definitions = schema.pop("$defs", {})
    whole: dict[str, Any] = _inlined(schema, definitions)
    return whole


def _inlined(schema: Any, definitions: dict[str, Any]) -> Any:
    """The schema without references, which would mean other places in the API's description."""
    if isinstance(schema, list):
        return [_inlined(item, definitions) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inlined(definitions[schema["$ref"].removeprefix("#/$defs/")], definitions)
    return {name: _inlined(item, definitions) for name, item in schema.items() if name != "discriminator"}


async def while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """What the work gives. Where the client goes away first, it is cancelled, and `ClientGone` raised."""
    working = asyncio.ensure_future(work)
    watching = asyncio.create_task(_until_gone(request))
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientGone
        return working.result()
    finally:
        # Its predictions are canceled too, which is not to be broken off.
        await stop(working, watching, again_seconds=TIDY_SECONDS)


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        continue
