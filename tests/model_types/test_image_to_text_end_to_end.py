"""Moondream through the whole platform: from a hub, with its own code, where an administrator trusts it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tests.cli.fake_hub import FakeHub
from tests.model_types import tiny_moondream
from tests.model_types.pictures import data_uri
from tests.stack import Stack

pytestmark = pytest.mark.slow

REPOSITORY = "acme/tiny-moondream"


def test_trusted_code_from_a_hub_answers_and_other_code_never_runs(
    make_stack: Callable[..., Stack], tmp_path: Path
) -> None:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    tiny_moondream.build(folder)
    hub = FakeHub(REPOSITORY, {file.name: file.read_bytes() for file in folder.iterdir()})
    environment = {
        "HF_ENDPOINT": hub.url,
        "HF_MODULES_CACHE": str(tmp_path / "modules"),
        "TRUSTED_MODELS": f"{REPOSITORY},{tmp_path / 'elsewhere'}",
    }
    stack = make_stack(environment=environment)
    with hub.running():
        stack.start(pools=["image-to-text"])
        with stack.client() as client:
            engine = {"owner": "test", "model_type": "image-to-text", "engine": "moondream"}
            client.add_model(
                {**engine, "name": "trusted", "model_path": REPOSITORY, "revision": "2024-04-02"}
            )
            client.add_model({**engine, "name": "strange", "model_path": str(folder)})
            green = data_uri(Image.new("RGB", (30, 20), "lime"))
            answered = client.predict(
                "test/trusted", {"image": green, "prompt": "Which colour is it?"}, wait_seconds=60
            )
            refused = client.predict("test/strange", {"image": green}, wait_seconds=60)
    assert (answered["status"], answered["output"]) == ("succeeded", "green")
    assert (refused["status"], refused["failure"]) == ("failed", "model_unavailable")
    assert "TRUSTED_MODELS" in refused["error"]
