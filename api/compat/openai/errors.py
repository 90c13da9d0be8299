"""Errors as OpenAI's clients know them: `{"error": {"message", "type", "param", "code"}}`."""

from __future__ import annotations

from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.types import Scope

from api.errors import ModelFailed, Refusal, refusal
from api.requests import RATE_LIMIT, Surface
from db.errors import NotFound

# Who is told to wait for longer than two minutes does not come again.
MAX_RETRY_AFTER_SECONDS = 60

_CODES = {
    401: "invalid_api_key",
    402: "insufficient_quota",
    403: "insufficient_permissions",
    413: "request_too_large",
    429: "rate_limit_exceeded",
}
_TYPES = {402: "insufficient_quota", 429: "requests"}


class ModelNotFound(NotFound):
    """There is no such model, or it is not this caller's to see."""

    param = "model"
    code = "model_not_found"


class ClientGone(HTTPException):
    """The client has gone away: nobody reads what is answered."""

    def __init__(self) -> None:
        super().__init__(499, "the client has gone away")


def error_object(error: Exception) -> dict[str, Any]:
    """What stands under `error`, in an answer or in a stream."""
    return _object(error, refusal(error))


def error_answer(error: Exception) -> Response:
    """The answer to `error`."""
    told = refusal(error)
    headers = dict(told.headers)
    if "Retry-After" in headers:
        headers["Retry-After"] = str(min(int(headers["Retry-After"]), MAX_RETRY_AFTER_SECONDS))
    if isinstance(error, ModelFailed):
        # It had its attempts already.
        headers["X-Should-Retry"] = "false"
    return JSONResponse({"error": _object(error, told)}, _status(told), headers)


def _status(told: Refusal) -> int:
    """OpenAI's API knows no 402, no 422 and no 501."""
    return {402: 429, 422: 400, 501: 400}.get(told.status, told.status)


def _object(error: Exception, told: Refusal) -> dict[str, Any]:
    status = _status(told)
    field = told.fields[0][0] if told.fields else None
    kind = "server_error" if status >= 500 else _TYPES.get(told.status, "invalid_request_error")
    return {
        "message": told.detail,
        "type": kind,
        "param": getattr(error, "param", None if field == "body" else field),
        "code": getattr(error, "code", _CODES.get(told.status)),
    }


def _headers(scope: Scope, seconds: float) -> list[tuple[bytes, bytes]]:
    """The headers that are on every answer; a limit's reset as OpenAI writes it, such as `12s`."""
    headers = [(b"openai-processing-ms", b"%d" % (seconds * 1000))]
    if RATE_LIMIT in scope:
        limit, remaining, reset = (value for _, value in scope[RATE_LIMIT].headers())
        headers += [
            (b"x-ratelimit-limit-requests", limit),
            (b"x-ratelimit-remaining-requests", remaining),
            (b"x-ratelimit-reset-requests", reset + b"s"),
        ]
    return headers


SURFACE = Surface(
    paths=(
        "/v1/chat/",
        "/chat/",
        "/v1/completions",
        "/v1/embeddings",
        "/v1/rerank",
        "/v1/audio/",
        "/v1/images/",
        "/v1/moderations",
        "/v1/batches",
    ),
    error_shape=error_answer,
    headers=_headers,
)
