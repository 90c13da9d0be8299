"""What can be wrong with a request, and the only place that knows which HTTP number each error has."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from http import HTTPStatus
from inspect import cleandoc
from math import ceil
from typing import Any

import psycopg
import redis.exceptions
import sqlalchemy.exc
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from api.logs import request_id
from db.errors import Conflict, IdempotencyMismatch, NotFound, StorageUnavailable

log = logging.getLogger(__name__)

FieldError = tuple[str, str]
RETRY_AFTER_SECONDS = 1


class RequestRefused(Exception):
    """The request cannot be served as it is."""


class Invalid(RequestRefused):
    """Some fields of the request do not fit."""

    def __init__(self, errors: Sequence[FieldError]) -> None:
        super().__init__("; ".join(f"{field} {message}" for field, message in errors))
        self.errors = list(errors)


class Unauthorized(RequestRefused):
    """The request needs a valid token: Authorization: Bearer …"""


class PaymentRequired(RequestRefused):
    """The caller has used up what they may use."""


class Forbidden(RequestRefused):
    """The caller may not do this."""


class Taken(Conflict):
    """What must be unique is in use already."""

    def __init__(self, fields: Sequence[str]) -> None:
        super().__init__(f"{' and '.join(fields)} {'is' if len(fields) == 1 else 'are'} taken")
        self.errors = [(field, "is taken") for field in fields]


class TooManyRequests(RequestRefused):
    """There is no room for this request now; it may come again after `retry_after_seconds`."""

    def __init__(self, message: str, *, retry_after_seconds: float = RETRY_AFTER_SECONDS) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class Unavailable(RequestRefused):
    """Something that the request needs is out of reach; it may come again after `retry_after_seconds`."""

    def __init__(self, message: str, *, retry_after_seconds: float = RETRY_AFTER_SECONDS) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class NotSupported(RequestRefused):
    """This server does not do that."""


class ModelFailed(RequestRefused):
    """The model could not do what it was asked for."""


class BodyTooLarge(HTTPException):
    """The request's body is longer than this server takes."""

    # Starlette's own class, because FastAPI turns any other error while it reads a body into a 400.
    def __init__(self, max_bytes: int) -> None:
        super().__init__(413, f"the body is longer than {max_bytes} bytes")


_STATUS: dict[type[Exception], int] = {
    Invalid: 422,
    RequestValidationError: 422,
    Unauthorized: 401,
    PaymentRequired: 402,
    Forbidden: 403,
    NotFound: 404,
    Conflict: 409,
    IdempotencyMismatch: 422,
    TooManyRequests: 429,
    ModelFailed: 500,
    NotSupported: 501,
    Unavailable: 503,
    StorageUnavailable: 503,
    sqlalchemy.exc.DataError: 422,
    sqlalchemy.exc.OperationalError: 503,
    sqlalchemy.exc.InterfaceError: 503,
    sqlalchemy.exc.TimeoutError: 503,
    psycopg.OperationalError: 503,
    psycopg.InterfaceError: 503,
    redis.exceptions.ConnectionError: 503,
    redis.exceptions.TimeoutError: 503,
}

# What libraries say is for the log; the client gets these.
_DETAIL = {
    422: "the request holds something that cannot be stored, such as a NUL character",
    500: "something went wrong here; the log has more under this request_id",
    503: "a server behind this one is out of reach now",
}


# In an ASGI scope: how this request's errors are answered, where that is not by `problem`.
ERROR_SHAPE = "augury.error_shape"


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a client is told of an error, in whichever shape."""

    status: int
    detail: str
    fields: Sequence[FieldError] = ()
    headers: Mapping[str, str] = field(default_factory=dict)


def refusal(error: Exception) -> Refusal:
    """What there is to tell of `error`.

    Errors that nobody foresaw are logged and answered with 500; nothing of their inside is shown.
    """
    status = next((_STATUS[cls] for cls in type(error).__mro__ if cls in _STATUS), 500)
    if status == 500 and isinstance(error, HTTPException):
        return Refusal(error.status_code, str(error.detail), headers=error.headers or {})
    if status in (500, 503):
        is_ours = isinstance(error, RequestRefused)
        unforeseen = error if status == 500 and not is_ours else None
        log.error("%s: %s", type(error).__name__, error, exc_info=unforeseen)
    fields = field_errors(error)
    return Refusal(status, _detail(error, status, fields), fields, _headers(error, status))


def problem(error: Exception) -> Response:
    """The answer to `error`: application/problem+json (RFC 9457) with its HTTP status and headers."""
    told = refusal(error)
    identifier, title = _kind(error)
    body: dict[str, Any] = {
        "type": identifier,
        "title": title or HTTPStatus(told.status).phrase,
        "status": told.status,
        "detail": told.detail,
        "request_id": request_id.get(),
    }
    if told.fields:
        body["errors"] = [{"field": field, "message": message} for field, message in told.fields]
    return JSONResponse(body, told.status, told.headers, media_type="application/problem+json")


def answer(error: Exception, scope: MutableMapping[str, Any]) -> Response:
    """The answer to `error` in the shape that this request's clients know."""
    shape: Callable[[Exception], Response] = scope.get(ERROR_SHAPE, problem)
    return shape(error)


def field_errors(error: Exception) -> list[FieldError]:
    """Which fields an error is about, and what is wrong with each, without their values."""
    if isinstance(error, RequestValidationError):
        return [(_field(item), plain(item["msg"])) for item in error.errors()]
    return list(getattr(error, "errors", ()))


def plain(message: str) -> str:
    """A validator's message as the end of a sentence that begins with the field's name."""
    message = message.removeprefix("Value error, ")
    message = re.sub(r"^(Input|String|List|Value|Number) (should|is|has)\b", r"\2", message)
    return {"Field required": "is required", "Extra inputs are not permitted": "is not a known field"}.get(
        message, message
    )


def install(app: FastAPI) -> None:
    """Let FastAPI's own errors be answered as all others, which reach the middleware."""
    app.add_exception_handler(HTTPException, _handle)
    app.add_exception_handler(RequestValidationError, _handle)


async def _handle(request: Request, error: Exception) -> Response:
    return answer(error, request.scope)


def _kind(error: Exception) -> tuple[str, str]:
    """A problem's type, by its noun, and its title, by the first sentence of its docstring."""
    cls = type(error)
    if cls.__module__.split(".")[0] not in ("api", "db"):
        return "about:blank", ""
    return _spelled(cls.__name__, cls.__doc__ or "")


@cache
def _spelled(name: str, docstring: str) -> tuple[str, str]:
    noun = re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()
    return f"urn:augury:error:{noun}", cleandoc(docstring).partition("\n")[0].removesuffix(".")


def _detail(error: Exception, status: int, fields: Sequence[FieldError]) -> str:
    if fields:
        return "; ".join(f"{field} {message}" for field, message in fields)
    if isinstance(error, RequestRefused | NotFound | Conflict):
        return str(error) or _kind(error)[1]
    return _DETAIL[status]


def _headers(error: Exception, status: int) -> dict[str, str]:
    if status == 401:
        return {"WWW-Authenticate": "Bearer"}
    if status in (429, 503):
        seconds = getattr(error, "retry_after_seconds", RETRY_AFTER_SECONDS)
        return {"Retry-After": str(max(1, ceil(seconds)))}
    # Clients made by Stainless ask again after some of these, unless they are told not to.
    return {"X-Should-Retry": "false"} if status in (402, 409, 501) else {}


def _field(item: Mapping[str, Any]) -> str:
    """A field's name in dots; where it stood (body, query, path) goes without saying."""
    source, *rest = item["loc"]
    if item["type"] == "json_invalid" or not rest:
        return str(source)
    return ".".join(str(part) for part in rest)
