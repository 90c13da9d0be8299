"""What the originals' settings do at the gateway: longest texts, most texts, full queues, no metrics."""

from __future__ import annotations

import asyncio
import base64
from io import BytesIO
from typing import Any

import openai
import pytest
from PIL import Image

from tests.api.asking import add_model, scalar, until_queued
from tests.api.conftest import Serve, settings
from tests.api.openai.conftest import MODEL, Scene, Stage, stage
from tests.api.openai.test_chat import HELLO, ask
from tests.model_types.media.files import recorded, tone
from tests.model_types.pictures import data_uri

__all__ = ["stage"]

pytestmark = pytest.mark.anyio


@pytest.mark.slow
async def test_a_text_that_is_too_long_is_refused_by_its_field(stage: Stage) -> None:
    async with stage("embeddings", max_text_chars=5) as scene:
        for texts in ("123456", ["12345", "123456"]):
            with pytest.raises(openai.BadRequestError, match="longer than 5 characters") as refused:
                await scene.client.embeddings.create(model=MODEL, input=texts)
            assert str(refused.value.param).startswith("input")
        native = {"model": MODEL, "input": {"text": "123456"}}
        answer = await scene.http.post("/v1/predictions", json=native, headers=scene.root)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "input.text")
        native["input"] = {"text": "12345"}
        answer = await scene.http.post("/v1/predictions", json=native, headers=scene.root)
        assert answer.status_code == 201


@pytest.mark.slow
async def test_what_is_said_in_a_conversation_is_a_text_and_an_image_is_none(stage: Stage) -> None:
    async with stage("image-to-text", max_text_chars=40) as scene:
        picture: dict[str, Any] = {
            "type": "image_url",
            "image_url": {"url": data_uri(Image.new("RGB", (8, 8)))},
        }

        def say(text: str) -> asyncio.Task[Any]:
            content = [{"type": "text", "text": text}, picture]
            return ask(scene.client, messages=[{"role": "user", "content": content}])

        with pytest.raises(openai.BadRequestError, match="longer than 40 characters"):
            await say("x" * 41)
        asking = say("x" * 40)
        (lease,) = await scene.asked()
        await scene.answer(lease, "Black.", input_token_count=1, output_token_count=1)
        await asking


@pytest.mark.slow
async def test_more_texts_than_one_request_may_have_are_refused(stage: Stage) -> None:
    async with stage("embeddings", max_batch_size=2) as scene:
        with pytest.raises(openai.BadRequestError, match="more than 2 items") as refused:
            await scene.client.embeddings.create(model=MODEL, input=["one", "two", "three"])
        assert refused.value.param == "input"
        # One text, by the ids of its tokens.
        asking = asyncio.create_task(scene.client.embeddings.create(model=MODEL, input=[1, 2, 3]))
        (lease,) = await scene.asked()
        await scene.answer(lease, [[1.0]], input_token_count=3)
        await asking


@pytest.mark.slow
async def test_audio_has_a_limit_of_its_own_in_bytes(stage: Stage) -> None:
    sound = recorded(tone(0.1))
    async with stage("speech-to-text", max_audio_bytes=len(sound) - 1) as scene:
        with pytest.raises(openai.APIStatusError, match="is larger than") as refused:
            await scene.client.audio.transcriptions.create(model=MODEL, file=("x.wav", sound))
        assert refused.value.status_code == 413
        await add_model(scene.served, scene.root, name="see", model_type="image-to-text")
        for model, field, data in (
            (MODEL, "audio", sound),
            ("root/see", "image", noise()),
        ):
            assert len(data) >= len(sound)
            body = {"model": model, "input": {field: base64.b64encode(data).decode()}}
            answer = await scene.http.post("/v1/predictions", json=body, headers=scene.root)
            assert answer.status_code == (422 if field == "audio" else 201), answer.text


def noise() -> bytes:
    """An image that cannot be made small."""
    file = BytesIO()
    Image.effect_noise((200, 200), 100).save(file, "PNG")
    return file.getvalue()


@pytest.mark.slow
async def test_a_full_queue_asks_clients_to_return_soon_and_they_find_room(stage: Stage) -> None:
    async with stage("text-generation", max_queue_size=1) as scene:
        # The queue is counted now, and not again for a second.
        scene.served.gateway.backlog.admit("elsewhere", "nobody")
        await asyncio.sleep(0.2)
        first = ask(scene.client)
        await until_queued(scene.served)
        with pytest.raises(openai.RateLimitError, match="in the pool text-generation") as refused:
            await ask(scene.client)
        assert refused.value.code == "rate_limit_exceeded"
        assert refused.value.response.headers["retry-after"] == "1"
        second = asyncio.create_task(
            scene.client.with_options(max_retries=5).chat.completions.create(model=MODEL, messages=HELLO)
        )
        await answer_next(scene)
        await first
        await answer_next(scene)
        assert (await second).choices[0].message.content == "Hello."


async def answer_next(scene: Scene) -> None:
    (lease,) = await scene.asked()
    await scene.answer(lease, "Hello.", input_token_count=1, output_token_count=1)


async def test_metrics_can_be_switched_off(serve: Serve) -> None:
    async with serve(enable_metrics=False, metrics_public=True) as served:
        assert (await served.http.get("/metrics", headers=await served.admin())).status_code == 404


@pytest.mark.slow
async def test_chats_without_a_model_are_for_the_operators_and_its_revision(stage: Stage) -> None:
    async with stage("text-generation", model_id=MODEL, revision="1") as scene:
        newer = await add_model(
            scene.served, scene.root, name="model", model_type="text-generation", version="2"
        )
        asking = asyncio.create_task(
            scene.http.post("/chat/completions", json={"messages": HELLO}, headers=scene.root)
        )
        (lease,) = await scene.asked()
        asked_for = await scalar(scene.served, "SELECT version_id FROM predictions")
        assert asked_for != newer["latest_version"]["id"]
        await scene.answer(lease, "Hello.", input_token_count=1, output_token_count=1)
        assert (await asking).json()["choices"][0]["text"] == "Hello."


def test_a_body_may_hold_the_largest_file() -> None:
    assert settings(max_input_bytes=1024, max_audio_bytes=9 * 1024).body_limit_bytes > 12 * 1024
