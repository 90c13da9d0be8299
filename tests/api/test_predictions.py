"""Predictions as clients ask for them: the original's shapes, and every way to name a model."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis.asyncio import Redis

from api.credentials import Principal
from api.schemas.predictions import PredictionCreate
from api.services import predictions
from api.services.submitting import Terms
from db.states import Priority
from tests.api.asking import ECHO, add_model, ask, look, scalar, settled
from tests.api.conftest import BASE_URL, Serve, Served
from tests.api.test_models import GPT2
from workers.messages import SERVE_TASK

pytestmark = pytest.mark.anyio


async def test_the_originals_curl_line_creates_a_prediction(served: Served) -> None:
    root = await served.admin()
    model = await add_model(served, root, **GPT2)
    ann = await served.person("ann")
    body = {
        "model_id": model["id"],
        "input": {"prompt": "Once upon a time", "max_length": 50},
        "webhook": "https://your-server.com/webhook",
    }
    response = await served.http.post("/v1/predictions", json=body, headers=ann)
    assert response.status_code == 201
    made = settled(response.json())
    assert made["status"] == "starting"
    assert made["model_id"] == model["id"]
    assert made["input"] == body["input"]
    assert made["output"] is None
    assert made["webhook"] == body["webhook"]
    assert made["version"] == model["latest_version"]["id"]
    created_at = datetime.fromisoformat(made["created_at"])
    assert made["created_at"].endswith("Z")
    assert abs(datetime.now(UTC) - created_at) < timedelta(minutes=1)
    here = f"{BASE_URL}/v1/predictions/{made['id']}"
    urls = made["urls"]
    assert (urls["get"], urls["cancel"]) == (here, f"{here}/cancel")
    assert urls["stream"].startswith(f"{BASE_URL}/v1/streams/{made['id']}-")
    assert response.headers["Location"] == here
    assert response.headers["Content-Type"] == "application/json"
    assert await look(served, ann, made["id"]) == made


async def test_every_way_to_name_a_version_names_the_same_one(served: Served) -> None:
    root = await served.admin()
    model = await add_model(served, root, version="1.0.0")
    version = model["latest_version"]["id"]
    names: list[dict[str, Any]] = [
        {"model_id": model["id"]},
        {"model": "root/echo"},
        {"model": "Root/ECHO"},
        {"version": version},
        {"version": "root/echo"},
        {"version": f"root/echo:{version}"},
        {"version": "root/echo:1.0.0"},
    ]
    for name in names:
        made = await ask(served, root, **name)
        assert (made["version"], made["model_id"]) == (version, model["id"]), name
        assert made["model"] == "root/echo"


async def test_an_older_version_runs_when_it_is_named(served: Served) -> None:
    root = await served.admin()
    first = await add_model(served, root, version="1.0.0")
    second = await add_model(served, root, version="2.0.0")
    older, newer = first["latest_version"]["id"], second["latest_version"]["id"]
    assert (await ask(served, root, model="root/echo"))["version"] == newer
    assert (await ask(served, root, model_id=first["id"]))["version"] == newer
    assert (await ask(served, root, version="root/echo:1.0.0"))["version"] == older
    assert (await ask(served, root, version=older))["version"] == older


async def test_a_private_model_does_not_exist_for_others(served: Served) -> None:
    root = await served.admin()
    model = await add_model(served, root, visibility="private")
    ann = await served.person("ann")
    for name in ({"model": "root/echo"}, {"model_id": model["id"]}):
        await ask(served, root, **name)
        refused = await ask(served, ann, status=404, **name)
        unknown = await ask(served, ann, status=404, model="root/nothing")
        assert refused["detail"].replace(next(iter(name.values())), "?") == unknown["detail"].replace(
            "root/nothing", "?"
        )


async def test_defaults_of_the_versions_schema_are_stored_with_the_input(served: Served) -> None:
    root = await served.admin()
    schema = {"text": {"type": "string"}, "steps": {"type": "integer", "default": 3, "maximum": 9}}
    await add_model(served, root, input_schema=schema)
    made = await ask(served, root, input={"text": "a"})
    assert made["input"] == {"text": "a", "steps": 3}
    assert (await look(served, root, made["id"]))["input"] == {"text": "a", "steps": 3}
    assert (await ask(served, root, input={"text": "a", "steps": 9}))["input"]["steps"] == 9


async def test_an_input_comes_back_as_it_was_given(served: Served) -> None:
    root = await served.admin()
    await add_model(served, root)
    for text in ("", "ünïcödé \U0001f40d", "line\nbreak \"quoted\" \\ 'single'", "\u2028", "a\0b"):
        made = await ask(served, root, input={"text": text})
        assert (await look(served, root, made["id"]))["input"]["text"] == text


async def test_an_accepted_prediction_waits_in_its_pool_and_the_bell_rings(
    served: Served, redis_url: str
) -> None:
    root = await served.admin()
    await add_model(served, root)
    made = await ask(served, root)
    assert await scalar(served, "SELECT id FROM queue WHERE pool = 'echo' AND lane IS NULL") == made["id"]
    async with Redis.from_url(redis_url) as client:
        bell = await client.blpop(["echo"], timeout=5)
    assert bell is not None
    assert SERVE_TASK.encode() in bell[1]


@pytest.mark.slow
async def test_a_public_url_stands_in_all_links(serve: Serve) -> None:
    async with serve(public_url="https://augury.example.org/base/") as served:
        root = await served.admin()
        await add_model(served, root)
        made = await ask(served, root)
    assert made["urls"]["get"] == f"https://augury.example.org/base/v1/predictions/{made['id']}"


async def test_a_client_may_send_what_replicate_calls_a_token(served: Served) -> None:
    root = await served.admin()
    await add_model(served, root)
    token = {"Authorization": root["Authorization"].replace("Bearer", "Token")}
    assert (await ask(served, token))["status"] == "starting"


@pytest.mark.slow
async def test_the_description_of_the_api_names_the_body_and_both_answers(served: Served) -> None:
    described: dict[str, Any] = (await served.http.get("/openapi.json")).json()
    create = described["paths"]["/v1/predictions"]["post"]
    body = create["requestBody"]["content"]["application/json"]["schema"]
    assert set(body["properties"]) == set(PredictionCreate.__struct_fields__)
    assert {"201", "202"} <= create["responses"].keys()
    parameters = {parameter["name"] for parameter in create["parameters"]}
    assert {"Prefer", "Idempotency-Key", "Cancel-After"} <= parameters


async def test_a_model_that_is_gone_leaves_its_predictions_readable(served: Served) -> None:
    root = await served.admin()
    model = await add_model(served, root, **ECHO)
    made = await ask(served, root)
    await served.http.post(f"/v1/predictions/{made['id']}/cancel", headers=root)
    model_id = await scalar(served, "SELECT id FROM models")
    gone = await served.http.delete(f"/v1/models/{model['id']}", headers=root)
    assert gone.status_code == 204, gone.text
    left = await look(served, root, made["id"])
    assert left["model"] == left["model_id"] == model_id
    await ask(served, root, status=404)


async def test_the_service_lets_others_go_first_where_it_is_told_to(served: Served) -> None:
    root = await served.admin()
    await add_model(served, root)
    body = PredictionCreate(model="root/echo", input={"text": "hello"})
    caller = Principal("0" * 26, "root", "admin")
    for priority in reversed(Priority):
        await predictions.create(served.gateway, caller, body, Terms(priority=priority))
    assert await scalar(served, "SELECT array_agg(priority ORDER BY rank) FROM queue") == [0, 1, 2]
