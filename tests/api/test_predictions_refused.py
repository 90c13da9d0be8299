"""Requests that make no prediction: each is told what is wrong with it, and nothing is stored."""

from __future__ import annotations

import json
from ipaddress import ip_network
from typing import Any

import pytest

from tests.api.asking import add_model, ask, scalar
from tests.api.conftest import Serve, Served

pytestmark = pytest.mark.anyio

GOOD: dict[str, Any] = {"model": "root/echo", "input": {"text": "a"}}
JSON = {"Content-Type": "application/json"}


async def refusal(served: Served, headers: dict[str, str], content: bytes) -> dict[str, Any]:
    """The problem that this body meets; nothing may be stored."""
    response = await served.http.post("/v1/predictions", content=content, headers=headers | JSON)
    assert response.status_code == 422, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    assert await scalar(served, "SELECT count(*) FROM predictions") == 0
    assert await scalar(served, "SELECT count(*) FROM queue") == 0
    return response.json()


MISFITS: list[tuple[dict[str, Any], str, str]] = [
    ({"model": None}, "model", "is required"),
    ({"version": "root/echo"}, "version", "says the same as model: give one"),
    ({"model_id": "x", "version": "y"}, "model_id", "says the same as version and model: give one"),
    ({"model": 7}, "model", "is wrong: expected `str | null`, got `int`"),
    ({"input": None}, "input", "is wrong: expected `object`, got `null`"),
    ({"input": ["a"]}, "input", "is wrong: expected `object`, got `array`"),
    ({"input": "a"}, "input", "is wrong: expected `object`, got `str`"),
    ({"webhook": 7}, "webhook", "is wrong: expected `str | null`, got `int`"),
    ({"extra": 7}, "extra", "is not a known field"),
    ({"input": {}}, "input.text", "is required"),
    ({"input": {"text": 7}}, "input.text", "should be a valid string"),
    ({"input": {"text": "a", "steps": 0}}, "input.steps", "should be greater than or equal to 1"),
    ({"input": {"text": "a", "colour": 1}}, "input.colour", "is not a known field"),
]


async def test_a_field_that_does_not_fit_is_named(served: Served) -> None:
    root = await served.admin()
    await add_model(served, root)
    for changes, field, message in MISFITS:
        problem = await refusal(served, root, json.dumps(GOOD | changes).encode())
        assert problem["errors"] == [{"field": field, "message": message}], changes


MALFORMED = [
    b"",
    b"{",
    b"nonsense",
    b"[]",
    b"null",
    b'"text"',
    b'{"model": "root/echo", "input": {"text": "a"}} {}',
    b'{"model": "root/echo", "input": {"text": "a", "sleep": NaN}}',
    b'{"model": "root/echo", "input": {"text": "a", "sleep": Infinity}}',
    b'{"model": "root/echo", "input": {"text": "a", "sleep": 1e999}}',
    b'{"model": "root/echo", "input": {"text": "\\ud800 half a pair"}}',
    b'{"model": "root/echo", "input": {"text": "\\udc00"}}',
    b'{"model": "root/echo", "input": {"\\ud800": "key"}}',
    b'{"model": "root/echo", "input": {"text": "\xff"}}',
    b'{"model": "root/echo", "input": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001,
    b'{"model": "root/echo", "input": {"text": ' + b"[" * 500 + b"]" * 500 + b"}}",
    b'{"model": "root/echo", "input": {"text": "a", "steps": ' + b"9" * 5000 + b"}}",
    b"input=text&model=root/echo",
]


async def test_what_is_no_json_of_this_shape_is_refused_in_words(served: Served) -> None:
    root = await served.admin()
    await add_model(served, root)
    for content in MALFORMED:
        problem = await refusal(served, root, content)
        (error,) = problem["errors"]
        assert error["field"] in {"body", "input", "input.text", "input.steps"}, content[:80]
        assert len(problem["detail"]) < 300


async def test_an_unknown_model_is_not_found(served: Served) -> None:
    root = await served.admin()
    for model in ("root/nothing", "", "a\0b", "a/b:c", "f" * 64, "0" * 26, "a" * 5000, "/", ":"):
        for name in ("model", "version", "model_id"):
            problem = await ask(served, root, status=404, **{name: model})
            assert problem["detail"].startswith("there is no model or version ")
            assert len(problem["detail"]) < 700


async def test_nobody_gets_a_prediction_without_a_token(served: Served) -> None:
    for headers in ({}, {"Authorization": "Bearer nonsense"}, {"Authorization": "Basic YTpi"}):
        problem = await ask(served, headers, status=401)
        assert problem["type"] == "urn:augury:error:unauthorized"


FORBIDDEN_WEBHOOKS = [
    ("", "must be plain ASCII"),
    ("no url", "must be plain ASCII"),
    ("https://exämple.org/", "must be plain ASCII"),
    ("ftp://example.org/hook", "must begin with http:// or https://"),
    ("javascript:alert(1)", "must begin with http:// or https://"),
    ("https:///hook", "must begin with http:// or https://"),
    ("https://user:secret@example.org/", "must not carry a user name or a password"),
    ("http://127.0.0.1/hook", "must not lead to 127.0.0.1"),
    ("http://0x7f.1/hook", "must not lead to 127.0.0.1"),
    ("http://[::1]/hook", "must not lead to ::1"),
    ("http://169.254.169.254/latest", "must not lead to 169.254.169.254"),
    ("http://10.1.2.3/", "must not lead to 10.1.2.3"),
    ("http://localhost/hook", "must not lead to this machine"),
    ("https://example.org:22/", "must use port 80 or 443"),
    ("https://example.org/" + "a" * 3000, "must not be longer than"),
]


async def test_a_webhook_that_may_not_be_called_is_refused_at_once(served: Served) -> None:
    root = await served.admin()
    await add_model(served, root)
    for url, reason in FORBIDDEN_WEBHOOKS:
        problem = await refusal(served, root, json.dumps(GOOD | {"webhook": url}).encode())
        (error,) = problem["errors"]
        assert error["field"] == "webhook", url
        assert error["message"].startswith(reason), url


async def test_a_private_network_that_is_allowed_may_have_webhooks(serve: Serve) -> None:
    async with serve(outbound_allow_cidrs=(ip_network("127.0.0.0/8"),)) as served:
        root = await served.admin()
        await add_model(served, root)
        made = await ask(served, root, webhook="http://127.0.0.1:4711/hook")
        assert made["webhook"] == "http://127.0.0.1:4711/hook"
        await ask(served, root, status=422, webhook="http://10.0.0.1:4711/hook")


async def test_a_body_beyond_the_limit_is_refused(serve: Serve) -> None:
    async with serve(max_body_bytes=2048) as served:
        root = await served.admin()
        await add_model(served, root)
        problem = await ask(served, root, status=413, input={"text": "a" * 4096})
        assert "2048" in problem["detail"]
        await ask(served, root, input={"text": "a" * 1024})
