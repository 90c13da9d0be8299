"""What Replicate's clients send and expect beyond the original's shapes."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import text

from tests.api.asking import Headers, add_model, ask, cancel, look, scalar, settled
from tests.api.conftest import BASE_URL, Served
from tests.api.test_models import GPT2

pytestmark = pytest.mark.anyio

ALL_EVENTS = ["start", "output", "logs", "completed"]


async def send(
    served: Served, method: str, path: str, headers: Headers, *, status: int = 201, **body: Any
) -> dict[str, Any]:
    response = await served.http.request(
        method, path, json={"input": {"text": "hello"}} | body, headers=headers
    )
    assert response.status_code == status, response.text
    return settled(response.json())


async def test_the_whole_object_is_there_from_the_beginning(served: Served) -> None:
    root = await served.admin()
    await add_model(served, root)
    made = await ask(served, root, version="root/echo")
    base = f"{BASE_URL}/v1/predictions/{made['id']}"
    stream = made["urls"].pop("stream")
    assert stream.startswith(f"{BASE_URL}/v1/streams/")
    assert made["urls"] == {
        "get": base,
        "cancel": f"{base}/cancel",
        "web": f"{BASE_URL}/p/{made['id']}",
    }
    expected = {
        "logs": "",
        "source": "api",
        "data_removed": False,
        "metrics": {},
        "error": None,
        "output": None,
    }
    assert expected.items() <= made.items()
    assert not {"deployment", "deadline", "webhook", "webhook_events_filter"} & made.keys()


async def test_a_models_own_route_runs_its_latest_version_or_the_one_that_is_named(served: Served) -> None:
    root = await served.admin()
    older = (await add_model(served, root, version="1"))["latest_version"]["id"]
    newer = (await add_model(served, root, version="2"))["latest_version"]["id"]
    path = "/v1/models/root/echo/predictions"
    assert (await send(served, "POST", path, root))["version"] == newer
    for name in (older, f"root/echo:{older}", "1"):
        assert (await send(served, "POST", path, root, version=name))["version"] == older


async def test_a_models_own_route_refuses_what_is_not_its_own(served: Served) -> None:
    root = await served.admin()
    await add_model(served, root)
    other = (await add_model(served, root, name="other"))["latest_version"]["id"]
    path = "/v1/models/root/echo/predictions"
    bodies: list[dict[str, Any]] = [{"version": other}, {"model": "root/echo"}, {"model_id": "x"}]
    for body in bodies:
        problem = await send(served, "POST", path, root, status=422, **body)
        assert [error["field"] for error in problem["errors"]] == list(body)
    await send(served, "POST", "/v1/models/root/nothing/predictions", root, status=404, version=other)
    assert await scalar(served, "SELECT count(*) FROM predictions") == 0


@pytest.mark.slow
async def test_a_put_makes_one_prediction_and_finds_it_by_the_clients_id(served: Served) -> None:
    root, ann = await served.admin(), await served.person("ann")
    await add_model(served, root)
    path = "/v1/predictions/My-own_id.7"
    body: dict[str, Any] = {"version": "root/echo"}
    made = await asyncio.gather(*[send(served, "PUT", path, ann, **body) for _ in range(5)])
    assert {one["id"] for one in made} == {made[0]["id"]}
    assert await scalar(served, "SELECT count(*) FROM predictions") == 1
    assert await look(served, ann, "My-own_id.7") == made[0]
    canceled = await cancel(served, ann, "My-own_id.7")
    assert (canceled["id"], canceled["status"]) == (made[0]["id"], "canceled")
    assert await send(served, "PUT", path, ann, **body) == canceled
    # An id is its owner's: to others it stands for nothing, or for something of their own.
    for headers in (root, await served.person("bob")):
        assert (await served.http.get(path, headers=headers)).status_code == 404
    assert (await send(served, "PUT", path, root, **body))["id"] != made[0]["id"]


async def test_a_put_of_something_else_is_refused(served: Served) -> None:
    root = await served.admin()
    await add_model(served, root)
    path = "/v1/predictions/mine"
    await send(served, "PUT", path, root, version="root/echo")
    await send(served, "PUT", path, root, status=422, version="root/echo", input={"text": "other"})
    await send(served, "PUT", path, root, status=422, version="root/echo", webhook="https://example.org/")
    for identifier in ("x" * 65, "a%20b", "%C3%A9"):
        problem = await send(
            served, "PUT", f"/v1/predictions/{identifier}", root, status=422, version="root/echo"
        )
        assert problem["errors"][0]["field"] == "prediction_id"


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        ({}, ALL_EVENTS),
        ({"webhook_events_filter": []}, ALL_EVENTS),
        ({"webhook_events_filter": ["completed", "start", "start"]}, ["start", "completed"]),
        ({"webhook_events_filter": ALL_EVENTS[::-1]}, ALL_EVENTS),
    ],
)
async def test_a_webhook_hears_of_what_was_asked_for(
    served: Served, asked: dict[str, Any], shown: list[str]
) -> None:
    root = await served.admin()
    await add_model(served, root)
    made = await ask(served, root, webhook="https://example.org/hook", **asked)
    assert (made["webhook"], made["webhook_events_filter"]) == ("https://example.org/hook", shown)
    assert await look(served, root, made["id"]) == made


async def test_the_webhook_of_older_clients_hears_of_the_end_alone(served: Served) -> None:
    root = await served.admin()
    await add_model(served, root)
    made = await ask(served, root, webhook_completed="https://example.org/hook")
    assert (made["webhook"], made["webhook_events_filter"]) == ("https://example.org/hook", ["completed"])
    hooks = {"webhook": "https://example.org/1", "webhook_completed": "https://example.org/2"}
    problem = await ask(served, root, status=422, **hooks)
    assert problem["errors"][0]["field"] == "webhook_completed"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"webhook_events_filter": ["complete"]}, "webhook_events_filter"),
        ({"webhook_events_filter": "completed"}, "webhook_events_filter"),
        ({"webhook_completed": "ftp://example.org"}, "webhook_completed"),
        ({"webhook_completed": "http://127.0.0.1/"}, "webhook_completed"),
        ({"stream": "yes"}, "stream"),
    ],
)
async def test_what_does_not_fit_is_named(served: Served, body: dict[str, Any], field: str) -> None:
    root = await served.admin()
    await add_model(served, root)
    problem = await ask(served, root, status=422, **body)
    assert [error["field"] for error in problem["errors"]] == [field]


async def test_texts_stream_for_clients_of_replicate_and_for_others_on_demand(served: Served) -> None:
    root = await served.admin()
    model = await add_model(served, root, **GPT2)
    await add_model(served, root, name="vectors", model_type="embeddings")
    text_input: dict[str, Any] = {"input": {"prompt": "a"}}
    asked: list[tuple[dict[str, Any], bool]] = [
        ({"version": "root/GPT-2"}, True),
        ({"version": "root/GPT-2", "stream": False}, False),
        ({"model": "root/GPT-2"}, False),
        ({"model": "root/GPT-2", "stream": True}, True),
        ({"model_id": model["id"]}, False),
    ]
    for body, streams in asked:
        made = await ask(served, root, **body, **text_input)
        stored = await scalar(served, f"SELECT streams FROM predictions WHERE id = '{made['id']}'")
        assert stored is streams, body
    made = await send(served, "POST", "/v1/models/root/GPT-2/predictions", root, **text_input)
    assert await scalar(served, f"SELECT streams FROM predictions WHERE id = '{made['id']}'") is True
    made = await ask(served, root, version="root/vectors", stream=True)
    assert await scalar(served, f"SELECT streams FROM predictions WHERE id = '{made['id']}'") is False


@pytest.mark.slow
async def test_a_deadline_of_the_clients_own_is_shown_and_holds(served: Served) -> None:
    root = await served.admin()
    await add_model(served, root)
    made = await ask(served, root | {"Cancel-After": "1m30s"})
    deadline, created_at = (datetime.fromisoformat(made[name]) for name in ("deadline", "created_at"))
    assert (deadline - created_at).total_seconds() == 90
    assert await look(served, root, made["id"]) == made
    assert await scalar(served, "SELECT deadline_at FROM queue") == deadline
    problem = await ask(served, root | {"Cancel-After": "soon"}, status=422)
    assert problem["errors"][0]["field"] == "Cancel-After"


async def test_the_callers_own_token_is_kept_nowhere(served: Served) -> None:
    """A client for JavaScript sends itself as input, its token included, when told to send files inline."""
    root = await served.admin()
    await add_model(served, root)
    token = root["Authorization"].partition(" ")[2]
    made = await ask(
        served, root, input={"text": f"Bearer {token}, {token}"}, webhook=f"https://a.example/{token}"
    )
    assert made["input"]["text"] == "Bearer [redacted], [redacted]"
    problem = await ask(served, root, status=422, input={"text": "a", "auth": token})
    assert problem["errors"] == [{"field": "input.auth", "message": "is not a known field"}]
    async with served.gateway.engine.connect() as connection:
        rows = await connection.execute(text("SELECT row_to_json(p)::text FROM predictions p"))
        stored = [row[0] for row in rows]
    assert token not in json.dumps([made, problem, stored])


async def test_a_page_for_people_tells_how_to_look_and_nothing_else(served: Served) -> None:
    root = await served.admin()
    await add_model(served, root)
    made = await ask(served, root, input={"text": "a secret"})
    page = await served.http.get(made["urls"]["web"])
    assert page.headers["Content-Type"].startswith("text/html")
    assert made["urls"]["get"] in page.text
    assert "secret" not in page.text
    for identifier in ("x", "%3Cscript%3E" * 5, "z" * 26):
        assert (await served.http.get(f"/p/{identifier}")).status_code == 404
