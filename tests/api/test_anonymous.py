"""Use without a token: who may do what, at what pace, and what nobody sees of others."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import openai
import pytest

from api.credentials import ANONYMOUS
from tests.api.asking import scalar, until_queued
from tests.api.conftest import BASE_URL, Serve, Served
from tests.api.openai.conftest import MODEL, Scene, Stage, stage
from tests.api.openai.test_chat import HELLO, PATH, ask

__all__ = ["stage"]

pytestmark = pytest.mark.anyio

ROUTES = [
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/rerank",
    "/v1/images/generations",
    "/v1/audio/transcriptions",
    "/v1/audio/translations",
    "/v1/moderations",
    "/chat/completions",
    "/inference",
    "/send_text",
    "/generate",
]
OTHERS = [
    ("GET", "/v1/predictions"),
    ("POST", "/v1/predictions"),
    ("GET", "/v1/auth/me"),
    ("GET", "/v1/files"),
    ("POST", "/v1/files"),
    ("POST", "/v1/models"),
    ("GET", "/v1/account"),
    ("GET", "/metrics"),
    ("GET", "/v1/batches"),
    ("POST", "/v1/batches"),
    ("GET", "/tasks/"),
]


@pytest.fixture
async def open_chat(stage: Stage) -> AsyncIterator[Scene]:
    """A model that writes texts, for everybody."""
    async with stage("text-generation", allow_anonymous=True) as scene:
        yield scene


@asynccontextmanager
async def caller_at(served: Served, host: str) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody at another address."""
    transport = httpx.ASGITransport(served.app, client=(host, 4711), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=BASE_URL) as http:
        yield http


async def test_nobody_is_let_in_without_a_token_unless_the_operator_says_so(serve: Serve) -> None:
    async with serve() as closed:
        assert [(await closed.http.post(path)).status_code for path in ROUTES] == [401] * len(ROUTES)
    async with serve(allow_anonymous=True) as open_:
        answers = [(await open_.http.post(path)).status_code for path in ROUTES]
        assert set(answers) <= {400, 422}, "an empty body is wrong, whoever sends it"
        refused = [(await open_.http.request(method, path)).status_code for method, path in OTHERS]
        assert refused == [401] * len(OTHERS)


@pytest.mark.slow
@pytest.mark.parametrize("key", ["EMPTY", "none", "x", "sk-no-key-required"])
async def test_a_key_that_somebody_made_up_is_none_and_stays_out_of_the_text(
    open_chat: Scene, key: str
) -> None:
    client = open_chat.client.with_options(api_key=key)
    assert [model.id async for model in client.models.list()] == [MODEL]
    asking = ask(client, messages=[{"role": "user", "content": f"x and {key}"}])
    (lease,) = await open_chat.asked()
    assert lease.input["messages"][0]["content"] == f"x and {key}"
    await open_chat.answer(lease, "Hello.", input_token_count=1, output_token_count=1)
    assert (await asking).choices[0].message.content == "Hello."
    assert await scalar(open_chat.served, "SELECT owner_id FROM predictions") == ANONYMOUS.id


@pytest.mark.slow
@pytest.mark.parametrize("token", ["aug_wrong", "eyJhbGciOiJIUzI1NiJ9.e30.c2lnbmF0dXJl"])
async def test_a_token_that_is_wrong_is_refused_and_not_taken_for_none(open_chat: Scene, token: str) -> None:
    with pytest.raises(openai.AuthenticationError):
        await ask(open_chat.client.with_options(api_key=token))
    for header in (f"Bearer {token}", f"Token {token}", token):
        headers = {"Authorization": header}
        assert (await open_chat.http.get("/v1/models", headers=headers)).status_code == 401


@pytest.mark.slow
async def test_who_has_a_token_asks_in_their_own_name(open_chat: Scene) -> None:
    asking = ask(open_chat.client)
    (lease,) = await open_chat.asked()
    await open_chat.answer(lease, "Hello.", input_token_count=1, output_token_count=1)
    await asking
    assert await scalar(open_chat.served, "SELECT owner_id FROM predictions") != ANONYMOUS.id


@pytest.mark.slow
async def test_private_models_are_not_there_for_those_without_a_token(open_chat: Scene) -> None:
    changed = await open_chat.http.patch(
        f"/v1/models/{MODEL}", json={"visibility": "private"}, headers=open_chat.root
    )
    assert changed.status_code == 200
    with pytest.raises(openai.NotFoundError):
        await ask(open_chat.client.with_options(api_key="none"))


@pytest.mark.slow
async def test_what_was_asked_without_a_token_is_no_users_to_read_or_to_end(open_chat: Scene) -> None:
    asking = ask(open_chat.client.with_options(api_key="none"))
    await until_queued(open_chat.served)
    prediction = await scalar(open_chat.served, "SELECT id FROM predictions")
    ann = await open_chat.served.person("ann")
    for method, path in (("GET", ""), ("POST", "/cancel")):
        url = f"/v1/predictions/{prediction}{path}"
        assert (await open_chat.http.request(method, url, headers=ann)).status_code == 404
        assert (await open_chat.http.request(method, url)).status_code == 401
    (lease,) = await open_chat.asked()
    await open_chat.answer(lease, "Hello.", input_token_count=1, output_token_count=1)
    await asking


@pytest.mark.slow
async def test_the_same_key_for_a_request_does_not_show_anothers_answer(open_chat: Scene) -> None:
    client = open_chat.client.with_options(api_key="none", default_headers={"Idempotency-Key": "1"})
    asking = [ask(client, messages=[{"role": "user", "content": name}]) for name in ("Ann", "Bob")]
    for lease in await open_chat.asked(2):
        text = lease.input["messages"][0]["content"]
        await open_chat.answer(lease, f"Hello, {text}.", input_token_count=1, output_token_count=1)
    answers = [answer.choices[0].message.content for answer in await asyncio.gather(*asking)]
    assert answers == ["Hello, Ann.", "Hello, Bob."]


async def test_each_address_has_a_limit_of_its_own_without_a_token(serve: Serve) -> None:
    body: dict[str, Any] = {"model": "no/model", "messages": HELLO}
    async with serve(allow_anonymous=True, rate_limit_anonymous="2/hour") as served:
        answers = [await served.http.post(PATH, json=body) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [404, 404, 429]
        assert answers[-1].json()["error"]["code"] == "rate_limit_exceeded"
        async with caller_at(served, "198.51.100.9") as other:
            assert (await other.post(PATH, json=body)).status_code == 404
        ann = await served.person("ann")
        assert (await served.http.post(PATH, json=body, headers=ann)).status_code == 404


@pytest.mark.slow
async def test_those_without_a_token_share_a_part_of_the_queue(stage: Stage) -> None:
    async with stage("text-generation", allow_anonymous=True, backlog_anonymous=1) as scene:
        # The queue is counted now, and not again for a second.
        scene.served.gateway.backlog.admit("elsewhere", "nobody")
        await asyncio.sleep(0.2)
        nobody = scene.client.with_options(api_key="none")
        first = ask(nobody)
        await until_queued(scene.served)
        with pytest.raises(openai.RateLimitError, match="wait already"):
            await ask(nobody)
        second = ask(scene.client)
        for lease in await scene.asked(2):
            await scene.answer(lease, "Hello.", input_token_count=1, output_token_count=1)
        await asyncio.gather(first, second)


@pytest.mark.parametrize(("host", "warnings"), [("0.0.0.0", 1), ("127.0.0.1", 0)])
async def test_a_gateway_that_is_open_to_the_world_says_so(
    serve: Serve, caplog: pytest.LogCaptureFixture, host: str, warnings: int
) -> None:
    caplog.set_level(logging.WARNING)
    async with serve(allow_anonymous=True, api_host=host):
        assert caplog.text.count("whoever reaches it may use its models") == warnings


async def test_the_name_of_those_without_a_token_cannot_be_registered(serve: Serve) -> None:
    person = {"username": ANONYMOUS.username, "email": "a@example.com", "password": "password123"}
    async with serve(allow_anonymous=True) as served:
        assert (await served.http.post("/v1/auth/register", json=person)).status_code == 422
