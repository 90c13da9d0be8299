"""One image, one model: /inference."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from PIL import Image

from tests.api.openai.conftest import Stage
from tests.model_types.pictures import data_uri

pytestmark = pytest.mark.anyio

PICTURE = data_uri(Image.new("RGB", (8, 8), "red"))
BASE64 = PICTURE.partition(",")[2]


@pytest.mark.slow
async def test_a_detector_gets_an_image_in_base64_and_is_found_by_its_name_alone(stage: Stage) -> None:
    async with stage("object-detection") as scene:
        body = {"model_id": "model", "image_base64": BASE64}
        asking = asyncio.create_task(scene.http.post("/inference", json=body, headers=scene.root))
        (lease,) = await scene.asked()
        assert lease.input == {"image": BASE64}
        found = {"detections": [], "width": 8, "height": 8}
        await scene.answer(lease, found)
        told = await asking
    assert (told.status_code, told.json()) == (
        200,
        {"id": lease.id, "model_id": "model", "model_type": "object-detection", "output": found},
    )


@pytest.mark.slow
async def test_a_model_that_writes_gets_an_images_url_and_a_question(stage: Stage) -> None:
    async with stage("image-to-text") as scene:
        body = {"model_id": "root/model", "image_url": PICTURE, "prompt": "What colour is it?"}
        asking = asyncio.create_task(scene.http.post("/inference", json=body, headers=scene.root))
        (lease,) = await scene.asked()
        assert lease.input == {"image": PICTURE, "prompt": "What colour is it?"}
        await scene.answer(lease, "red")
        assert (await asking).json()["output"] == "red"


WRONG: list[tuple[dict[str, Any], int, str]] = [
    ({"image_url": PICTURE}, 422, "exactly one of image_url and image_base64"),
    ({"image_base64": None}, 422, "exactly one of image_url and image_base64"),
    ({"image_base64": "§"}, 422, "image_base64"),
    ({"prompt": "What?"}, 422, "prompt is not a known field"),
    ({"size": 640}, 422, "size is not a known field"),
    ({"model_id": "nobody/nothing"}, 404, "the model 'nobody/nothing' does not exist"),
    ({"model_id": "nothing"}, 404, "the model 'nothing' does not exist"),
    ({"model_id": "root/text"}, 422, "model_id is of the type text-generation"),
]


@pytest.mark.slow
async def test_what_does_not_fit_is_told_with_its_field(stage: Stage) -> None:
    async with stage("object-detection") as scene:
        await scene.add("text", "text-generation")
        for changes, status, told in WRONG:
            body = {"model_id": "model", "image_base64": BASE64} | changes
            refused = await scene.http.post("/inference", json=body, headers=scene.root)
            assert refused.status_code == status, refused.text
            assert told in refused.json()["detail"]
