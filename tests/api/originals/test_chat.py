"""Chat completions without a model, and without /v1."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from openai import AsyncOpenAI
from PIL import Image

from tests.api.openai.conftest import Stage
from tests.model_types.pictures import data_uri

pytestmark = pytest.mark.anyio

PICTURE = data_uri(Image.new("RGB", (8, 8), "red"))
QUESTION = {"type": "text", "text": "What is it?"}


@pytest.mark.slow
@pytest.mark.parametrize("image", [PICTURE, {"url": PICTURE}])
async def test_the_only_model_for_images_answers_and_its_text_stands_beside_the_message(
    stage: Stage, image: object
) -> None:
    async with stage("image-to-text") as scene:
        await scene.add("text", "text-generation")
        content = [QUESTION, {"type": "image_url", "image_url": image}]
        body = {"messages": [{"role": "user", "content": content}]}
        asking = asyncio.create_task(scene.http.post("/chat/completions", json=body, headers=scene.root))
        (lease,) = await scene.asked()
        assert PICTURE in json.dumps(lease.input)
        await scene.answer(lease, "red")
        answer = (await asking).json()
    (choice,) = answer["choices"]
    assert answer["model"] == "root/model"
    assert (choice["text"], choice["message"]["content"]) == ("red", "red")


@pytest.mark.slow
async def test_where_no_model_fits_one_must_be_named(stage: Stage) -> None:
    async with stage("image-to-text") as scene:
        body = {"messages": [{"role": "user", "content": "Hello"}]}
        refused = await scene.http.post("/chat/completions", json=body, headers=scene.root)
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "model"


@pytest.mark.slow
@pytest.mark.parametrize("stream", [False, True])
async def test_openais_client_may_leave_out_v1(stage: Stage, stream: bool) -> None:
    async with stage("text-generation") as scene:
        token = scene.root["Authorization"].removeprefix("Bearer ")
        async with AsyncOpenAI(base_url=str(scene.http.base_url), api_key=token, max_retries=0) as client:
            asking = asyncio.create_task(
                client.chat.completions.create(
                    model="root/model", messages=[{"role": "user", "content": "Hello"}], stream=stream
                )
            )
            (lease,) = await scene.asked()
            await scene.answer(lease, "Hi", finish_reason="stop")
            answer: Any = await asking
            if stream:
                chunks = [chunk async for chunk in answer]
                assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Hi"
            else:
                assert answer.choices[0].message.content == "Hi"
