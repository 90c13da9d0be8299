"""Errors, headers and models as OpenAI's clients read them."""

from __future__ import annotations

import asyncio

import openai
import pytest

from tests.api.asking import until_queued
from tests.api.openai.conftest import MODEL, Scene, Stage
from tests.api.openai.test_chat import HELLO, PATH, ask

pytestmark = pytest.mark.anyio


@pytest.mark.slow
async def test_errors_have_openais_shape_types_and_codes(chat: Scene) -> None:
    stranger = chat.client.with_options(api_key="wrong")
    with pytest.raises(openai.AuthenticationError) as unknown:
        await ask(stranger)
    assert (unknown.value.type, unknown.value.code) == ("invalid_request_error", "invalid_api_key")
    with pytest.raises(openai.NotFoundError, match="'no/model' does not exist") as missing:
        await ask(chat.client, model="no/model")
    assert (missing.value.code, missing.value.param) == ("model_not_found", "model")
    assert missing.value.request_id == missing.value.response.headers["x-request-id"]
    with pytest.raises(openai.BadRequestError, match="is of the type text-generation") as other:
        await chat.client.embeddings.create(model=MODEL, input="x")
    assert (other.value.param, other.value.type) == ("model", "invalid_request_error")
    for method, url, status in (("GET", PATH, 405), ("POST", "/v1/chat/nothing", 404)):
        response = await chat.http.request(method, url, headers=chat.root)
        assert response.status_code == status
        assert response.json()["error"].keys() == {"message", "type", "param", "code"}
    broken = await chat.http.post(PATH, content=b"{", headers=chat.root)
    assert (broken.status_code, broken.json()["error"]["param"]) == (400, None)
    # Other paths keep their own.
    problem = await chat.http.get("/v1/predictions")
    assert problem.headers["Content-Type"] == "application/problem+json"


@pytest.mark.slow
async def test_models_are_listed_and_found_by_name(chat: Scene) -> None:
    listed = [model async for model in chat.client.models.list()]
    assert [model.id for model in listed] == [MODEL]
    found = await chat.client.models.retrieve(MODEL)
    assert (found.object, found.owned_by, found.created) == ("model", "root", listed[0].created)


@pytest.mark.slow
async def test_every_answer_tells_what_it_took_and_what_is_left(chat: Scene) -> None:
    response = await chat.http.post(PATH, json={}, headers=chat.root)
    assert response.status_code == 400
    assert int(response.headers["openai-processing-ms"]) < 5000
    assert response.headers["x-ratelimit-limit-requests"] == "6000"
    assert int(response.headers["x-ratelimit-remaining-requests"]) < 6000
    assert response.headers["x-ratelimit-reset-requests"].removesuffix("s").isdigit()
    assert response.headers["x-request-id"]


@pytest.mark.slow
async def test_who_has_used_up_the_month_is_told_so_as_openai_tells_it(chat: Scene) -> None:
    limit = {"monthly_run_seconds": 0}
    assert (await chat.http.patch("/v1/users/root", json=limit, headers=chat.root)).status_code == 200
    with pytest.raises(openai.RateLimitError, match=r"have run 0\.0 s, and may run") as refused:
        await ask(chat.client)
    assert (refused.value.type, refused.value.code) == ("insufficient_quota", "insufficient_quota")
    assert refused.value.response.headers["x-should-retry"] == "false"


@pytest.mark.slow
async def test_who_comes_too_often_is_told_to_come_again_within_a_minute(stage: Stage) -> None:
    async with stage("text-generation", rate_limit_create="2/hour") as scene:
        for _ in range(3):
            response = await scene.post(PATH, messages=[])
        assert (response.status_code, response.json()["error"]["code"]) == (429, "rate_limit_exceeded")
        assert 1 <= int(response.headers["retry-after"]) <= 60


@pytest.mark.slow
async def test_more_choices_than_may_wait_are_refused_together(stage: Stage) -> None:
    async with stage("text-generation", backlog_per_user=1) as scene:
        # The queue is counted now, and not again for a second.
        scene.served.gateway.backlog.admit("elsewhere", "nobody")
        await asyncio.sleep(0.2)
        with pytest.raises(openai.RateLimitError, match="wait already") as full:
            await ask(scene.client, n=2)
        assert full.value.code == "rate_limit_exceeded"
        assert 1 <= int(full.value.response.headers["retry-after"]) <= 60
        await until_queued(scene.served, 0)


@pytest.mark.slow
async def test_a_body_that_is_too_large_is_refused_in_the_same_shape(stage: Stage) -> None:
    async with stage("text-generation", max_body_bytes=1024) as scene:
        response = await scene.post(PATH, messages=[{**HELLO[0], "content": "x" * 2000}])
        assert (response.status_code, response.json()["error"]["code"]) == (413, "request_too_large")
