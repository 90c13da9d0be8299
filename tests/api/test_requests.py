"""What holds for every request: ids, sizes, errors, the log."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator

import pytest
import sqlalchemy.exc
from fastapi import FastAPI, Request
from starlette.responses import Response
from starlette.routing import Route

from api.errors import Forbidden, TooManyRequests
from api.logs import LineFormatter, RequestIdFilter, request_id
from db.errors import IdempotencyMismatch
from tests.api.conftest import Serve, Served

pytestmark = pytest.mark.anyio


class BacklogFull(TooManyRequests):
    """Too much waits already."""


RAISED: dict[str, Exception] = {
    "forbidden": Forbidden("not you"),
    "mismatch": IdempotencyMismatch("key"),
    "full": BacklogFull("later", retry_after_seconds=7.2),
    "down": sqlalchemy.exc.OperationalError("SELECT 'secret'", {}, Exception("secret host")),
    "bug": ZeroDivisionError("secret"),
}


def with_raising_routes(app: FastAPI) -> None:
    """A FastAPI route and a plain Starlette route that raise what they are asked for."""

    @app.get("/raise/{name}")
    async def by_fastapi(name: str) -> None:
        raise RAISED[name]

    async def by_starlette(request: Request) -> Response:
        raise RAISED[request.path_params["name"]]

    app.router.routes.append(Route("/plain/{name}", by_starlette))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["raise", "plain"])
@pytest.mark.parametrize(
    ("name", "status", "noun", "detail", "retry_after"),
    [
        ("forbidden", 403, "urn:augury:error:forbidden", "not you", None),
        ("mismatch", 422, "urn:augury:error:idempotency-mismatch", "key", None),
        ("full", 429, "about:blank", "later", "8"),
        ("down", 503, "about:blank", "out of reach", "1"),
        ("bug", 500, "about:blank", "log", None),
    ],
)
async def test_every_error_is_a_problem_with_its_number(
    served: Served, kind: str, name: str, status: int, noun: str, detail: str, retry_after: str | None
) -> None:
    with_raising_routes(served.app)
    response = await served.http.get(f"/{kind}/{name}", headers={"X-Request-Id": "mine"})
    assert response.status_code == status
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.headers.get("Retry-After") == retry_after
    body = response.json()
    assert body.keys() == {"type", "title", "status", "detail", "request_id"}
    assert (body["type"], body["status"], body["request_id"]) == (noun, status, "mine")
    assert detail in body["detail"]
    assert "secret" not in response.text


@pytest.mark.slow
async def test_a_bug_is_logged_with_its_trace_and_the_requests_id(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    with_raising_routes(served.app)
    caplog.handler.addFilter(RequestIdFilter())
    await served.http.get("/raise/bug", headers={"X-Request-Id": "mine"})
    bug = next(record for record in caplog.records if record.exc_info)
    assert "ZeroDivisionError" in caplog.text
    assert vars(bug)["request_id"] == "mine"


@pytest.mark.slow
@pytest.mark.parametrize(("method", "url", "status"), [("GET", "/none", 404), ("PUT", "/health", 405)])
async def test_wrong_turns_are_problems_too(served: Served, method: str, url: str, status: int) -> None:
    response = await served.http.request(method, url)
    assert response.status_code == status
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.json()["status"] == status


async def test_a_slash_too_many_is_not_redirected_and_does_no_harm(served: Served) -> None:
    assert (await served.http.get("/v1/models/")).status_code == 200


@pytest.mark.slow
@pytest.mark.parametrize("body", [b"{", b"", b"[]", b'"\xff"'])
async def test_a_body_that_is_not_json_is_refused(served: Served, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    response = await served.http.post("/v1/auth/register", content=body, headers=headers)
    assert response.status_code in (400, 422)
    assert response.headers["Content-Type"] == "application/problem+json"


async def test_nul_characters_in_urls_and_forms_do_no_harm(served: Served) -> None:
    assert (await served.http.get("/v1/models/a%00b")).status_code == 422
    form = {"username": "a\0b", "password": "c"}
    assert (await served.http.post("/v1/auth/token", data=form)).status_code == 422


@pytest.mark.parametrize("given", ["a", "A-b_c.9", "x" * 64])
async def test_a_clients_request_id_comes_back(served: Served, given: str) -> None:
    response = await served.http.get("/health", headers={"X-Request-Id": given})
    assert response.headers["X-Request-Id"] == given


@pytest.mark.parametrize("given", [None, "", "x" * 65, "a b", "a\tb", "é"])
async def test_a_request_without_a_fit_id_gets_one(served: Served, given: str | None) -> None:
    headers = {} if given is None else {b"X-Request-Id": given.encode()}
    response = await served.http.get("/health", headers=headers)
    assert re.fullmatch(r"[0-9a-v]{26}", response.headers["X-Request-Id"])


async def test_each_request_is_one_line_in_the_log_and_no_token_is_in_it(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    caplog.handler.setFormatter(LineFormatter())
    caplog.handler.addFilter(RequestIdFilter())
    headers = await served.person("ann")
    await served.http.get("/v1/auth/me", headers={**headers, "X-Request-Id": "mine"})
    await served.http.get("/v1/models/ann/echo?token=hidden")
    await served.http.get("/a%0Ab")
    ours = "\n".join(line for line in caplog.text.splitlines() if "HTTP Request: " not in line)
    lines = [line for line in ours.splitlines() if " ms " in line]
    assert re.search(r" INFO mine GET /v1/auth/me 200 [0-9.]+ ms [0-9a-v]{26}$", lines[0])
    assert re.search(r" INFO [0-9a-v]{26} GET /v1/models/\{owner\}/\{name\} 404 [0-9.]+ ms -$", lines[1])
    assert " GET /a%0Ab 404 " in lines[2]
    assert headers["Authorization"].removeprefix("Bearer ")[8:] not in ours
    assert "hidden" not in ours


async def test_a_body_over_the_cap_is_refused_whether_it_says_its_length_or_not(serve: Serve) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(8):
            yield b" " * 256

    async with serve(max_body_bytes=1024) as served:
        for content in (b" " * 1025, chunks()):
            response = await served.http.post(
                "/v1/auth/register", content=content, headers={"Content-Type": "application/json"}
            )
            assert response.status_code == 413
            assert response.json()["type"] == "urn:augury:error:body-too-large"
        response = await served.http.post("/v1/auth/register", content=b" " * 1024)
        assert response.status_code == 422


async def test_each_request_has_an_id_of_its_own(served: Served) -> None:
    seen = {(await served.http.get("/health")).headers["X-Request-Id"] for _ in range(3)}
    assert len(seen) == 3
    assert request_id.get() in seen


@pytest.mark.slow
async def test_the_api_describes_itself(served: Served) -> None:
    described = (await served.http.get("/openapi.json")).json()
    assert "/v1/models/{owner}/{name}" in described["paths"]
    for url in ("/docs", "/redoc"):
        response = await served.http.get(url)
        assert response.status_code == 200
        assert "/openapi.json" in response.text
