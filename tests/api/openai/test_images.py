"""Images, as OpenAI's client asks for them and as the queue sees them."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest

from db.blobs import REFERENCE_PREFIX, folder_of
from db.leases import Lease
from tests.api.openai.conftest import MODEL, Scene, Stage

pytestmark = pytest.mark.anyio


@pytest.fixture
async def painter(stage: Stage) -> AsyncIterator[Scene]:
    """A model that draws."""
    async with stage("text-to-image") as scene:
        yield scene


def ask(scene: Scene, **changes: Any) -> asyncio.Task[Any]:
    """A request that waits for its answer while the test goes on."""
    arguments: dict[str, Any] = {"model": MODEL, "prompt": "a white rabbit"} | changes
    return asyncio.create_task(scene.client.images.generate(**arguments))


async def draw(scene: Scene, lease: Lease, content: bytes) -> None:
    """Let a prediction succeed with an image of these bytes."""
    key = f"{folder_of('predictions', lease.id)}/out-0.png"
    await asyncio.to_thread(scene.served.gateway.blobs.put, key, content)
    await scene.answer(lease, [REFERENCE_PREFIX + key])


@pytest.mark.slow
async def test_an_image_is_a_prediction_and_its_url_leads_to_the_bytes(painter: Scene) -> None:
    asking = ask(painter)
    (lease,) = await painter.asked()
    assert lease.input == {"prompt": "a white rabbit"}
    await draw(painter, lease, b"rabbit")
    answer = await asking
    (image,) = answer.data
    assert image.b64_json is None
    assert (await painter.http.get(image.url)).content == b"rabbit"
    assert abs(answer.created - time.time()) < 30


@pytest.mark.slow
async def test_each_image_has_a_seed_of_its_own_and_they_come_in_order(painter: Scene) -> None:
    asking = ask(painter, n=3, response_format="b64_json", extra_body={"seed": 11})
    leases = await painter.asked(3)
    for lease in reversed(leases):
        await draw(painter, lease, b"seed %d" % lease.input["seed"])
    contents = [base64.b64decode(image.b64_json) for image in (await asking).data]
    assert contents == [b"seed 11", b"seed 12", b"seed 13"]


@pytest.mark.slow
async def test_what_is_asked_for_reaches_the_model(painter: Scene) -> None:
    asking = ask(
        painter,
        size="512x768",
        output_format="jpeg",
        output_compression=70,
        background="auto",
        quality="hd",
        style="vivid",
        user="ann",
        moderation="low",
        extra_body={"negative_prompt": "blur", "num_inference_steps": 4, "guidance_scale": 2.5},
    )
    (lease,) = await painter.asked()
    assert lease.input == {
        "prompt": "a white rabbit",
        "width": 512,
        "height": 768,
        "output_format": "jpg",
        "output_quality": 70,
        "negative_prompt": "blur",
        "num_inference_steps": 4,
        "guidance_scale": 2.5,
    }
    await draw(painter, lease, b"rabbit")
    assert len((await asking).data) == 1


@pytest.mark.slow
async def test_an_automatic_size_is_the_models_own(painter: Scene) -> None:
    asking = ask(painter, size="auto")
    (lease,) = await painter.asked()
    assert lease.input == {"prompt": "a white rabbit"}
    await draw(painter, lease, b"rabbit")
    await asking


@pytest.mark.slow
async def test_what_cannot_be_done_is_named(painter: Scene) -> None:
    cases: list[tuple[str, dict[str, Any]]] = [
        ("size", {"size": "large"}),
        ("size", {"size": "100x100"}),
        ("size", {"size": "4096x1024"}),
        ("n", {"n": 11}),
        ("output_format", {"output_format": "gif"}),
        ("output_compression", {"output_compression": 101}),
        ("background", {"background": "transparent"}),
        ("partial_images", {"partial_images": 2}),
        ("stream", {"stream": True}),
        ("frame_count", {"frame_count": 4}),
        ("prompt", {"prompt": ""}),
        ("sparkle", {"extra_body": {"sparkle": True}}),
    ]
    for param, changes in cases:
        with pytest.raises(openai.BadRequestError) as refused:
            await ask(painter, **changes)
        assert (refused.value.param, refused.value.type) == (param, "invalid_request_error")
