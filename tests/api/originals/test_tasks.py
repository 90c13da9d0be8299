"""Prompts as tasks: /send_text, /generate, and looking at what becomes of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.api.asking import add_model, cancel
from tests.api.openai.conftest import Scene, Stage

pytestmark = pytest.mark.anyio

PROMPT = {"prompt": "Hello", "model_name": "root/model"}


@pytest.fixture
async def scene(stage: Stage) -> AsyncIterator[Scene]:
    async with stage("text-generation", allow_anonymous=True) as scene:
        yield scene


async def post(scene: Scene, path: str, body: dict[str, Any]) -> httpx.Response:
    return await scene.http.post(path, json=body, headers=scene.root)


async def look(scene: Scene, task_id: str) -> dict[str, Any]:
    """A task, which both ways to look at it show alike."""
    found = await scene.http.get(f"/get_task_status/{task_id}", headers=scene.root)
    polled = await scene.http.get("/poll_task_status", params={"task_id": task_id}, headers=scene.root)
    assert found.json() == polled.json()
    return found.json()


@pytest.mark.slow
async def test_a_text_that_was_sent_is_looked_at_until_it_is_there(scene: Scene) -> None:
    sent = await post(scene, "/send_text", PROMPT)
    task_id = sent.json()["task_id"]
    assert (sent.status_code, sent.json()["status"]) == (200, "PENDING")
    assert (await look(scene, task_id))["status"] == "PENDING"
    (lease,) = await scene.asked()
    assert (lease.id, lease.input) == (task_id, {"prompt": "Hello"})
    assert (await look(scene, task_id))["status"] == "STARTED"
    await scene.answer(lease, ", world")
    ended = await look(scene, task_id)
    assert ended.items() >= {"status": "SUCCESS", "result": ", world", "model_name": "root/model"}.items()
    listed = (await scene.http.get("/tasks/", headers=scene.root)).json()
    assert listed == {"tasks": [ended], "next": None, "previous": None}


@pytest.mark.slow
async def test_generating_waits_for_the_text(scene: Scene) -> None:
    asking = asyncio.create_task(post(scene, "/generate", PROMPT))
    (lease,) = await scene.asked()
    await scene.answer(lease, ", world")
    told = (await asking).json()
    assert (told["task_id"], told["status"], told["result"]) == (lease.id, "SUCCESS", ", world")


@pytest.mark.slow
async def test_what_fails_and_what_is_canceled_says_so(scene: Scene) -> None:
    asking = asyncio.create_task(post(scene, "/generate", PROMPT))
    (lease,) = await scene.asked()
    await scene.fail(lease, "prediction_error", "no more ink")
    refused = await asking
    assert (refused.status_code, refused.json()["detail"]) == (500, "no more ink")
    failed = await look(scene, lease.id)
    assert (failed["status"], failed["error"], failed["result"]) == ("FAILURE", "no more ink", None)
    sent = (await post(scene, "/send_text", PROMPT)).json()["task_id"]
    await cancel(scene.served, scene.root, sent)
    assert (await look(scene, sent))["status"] == "REVOKED"


@pytest.mark.slow
async def test_a_model_need_be_named_only_where_there_are_several(scene: Scene) -> None:
    assert (await post(scene, "/send_text", {"prompt": "Hello"})).status_code == 200
    await scene.add("other", "text-generation")
    refused = await post(scene, "/send_text", {"prompt": "Hello"})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == "model_name"


@pytest.mark.slow
async def test_the_server_may_say_which_model_it_is(stage: Stage) -> None:
    async with stage("text-generation", model_id="other") as scene:
        await scene.add("other", "text-generation")
        sent = (await post(scene, "/send_text", {"prompt": "Hello"})).json()
        assert (await look(scene, sent["task_id"]))["model_name"] == "root/other"


@pytest.mark.slow
async def test_a_public_name_alone_is_a_model_unless_it_is_several(scene: Scene) -> None:
    short = PROMPT | {"model_name": "MODEL"}
    assert (await post(scene, "/send_text", short)).status_code == 200
    ann = await scene.served.person("ann")
    await scene.add("model", "text-generation", owner="ann", visibility="private")
    assert (await post(scene, "/send_text", short)).status_code == 200
    await add_model(scene.served, scene.root, name="model", owner="bob", model_type="text-generation")
    scene.served.gateway.versions.forget()
    assert (await scene.http.post("/send_text", json=short, headers=ann)).status_code == 404


@pytest.mark.slow
async def test_without_a_token_a_task_is_found_by_its_id_and_none_are_listed(scene: Scene) -> None:
    sent = await scene.http.post("/send_text", json=PROMPT)
    task_id = sent.json()["task_id"]
    assert (await scene.http.get(f"/get_task_status/{task_id}")).json()["status"] == "PENDING"
    listing = await scene.http.get("/tasks")
    assert (listing.status_code, "by its id" in listing.json()["detail"]) == (401, True)
    own = (await post(scene, "/send_text", PROMPT)).json()["task_id"]
    assert (await scene.http.get(f"/get_task_status/{own}")).status_code == 404


@pytest.mark.slow
async def test_what_does_not_fit_is_told_with_its_field(scene: Scene) -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"prompt": ""}, "prompt"),
        ({"model_name": "root/model"}, "prompt is required"),
        (PROMPT | {"max_tokens": 3}, "max_tokens is not a known field"),
    ]
    for body, told in wrong:
        refused = await post(scene, "/send_text", body)
        assert refused.status_code == 422
        assert told in refused.json()["detail"]
