"""Files from clients to a model, through the whole platform, on every way that there is."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.model_types.media.files import encoded, flag
from tests.stack import Stack, wait_until
from tests.workers.receivers import answer, receiver, serve

pytestmark = pytest.mark.slow

# Larger than what stays in a row.
FLAG = encoded(flag(200, 200), "BMP")
MODEL = "test/palette"


def add_palette(stack: Stack) -> None:
    """A custom model that tells which colours an image has."""
    from examples.custom_model.palette import Input

    with stack.client() as client:
        client.add_model(
            {
                "owner": "test",
                "name": "palette",
                "model_type": "custom",
                "model_path": "examples.custom_model.palette:Palette",
                "input_schema": Input.model_json_schema(),
            }
        )


def ask(http: httpx.Client, image: str, *, wait: bool = True) -> dict[str, Any]:
    """Ask for the colours of an image."""
    response = http.post(
        "/v1/predictions",
        json={"model": MODEL, "input": {"image": image, "colours": 2}},
        headers={"Prefer": "wait=60"} if wait else {},
    )
    assert response.status_code == 201, response.text
    return response.json()


def colours(prediction: dict[str, Any]) -> set[str]:
    assert prediction["status"] == "succeeded", prediction
    return {colour["hex"] for colour in prediction["output"]}


def test_files_reach_the_model_on_every_way(make_stack: Callable[..., Stack]) -> None:
    stack = make_stack(environment={"ALLOW_REMOTE_INPUTS": "1", "INPUT_ALLOW_CIDRS": "127.0.0.0/8"})
    stack.start(pools=("custom",))
    add_palette(stack)
    red_and_blue = {"#ff0000", "#0000ff"}
    headers = {"Authorization": f"Bearer {stack.token()}"}
    with httpx.Client(base_url=stack.url, headers=headers, timeout=90) as http:
        body = json.dumps({"model": MODEL, "input": {"colours": 2}})
        sent = http.post(
            "/v1/predictions/multipart",
            files={"prediction": (None, body, "application/json"), "image": ("flag", FLAG)},
            headers={"Prefer": "wait=60"},
        ).json()
        assert colours(sent) == red_and_blue
        assert httpx.get(sent["input"]["image"]).content == FLAG
        assert colours(ask(http, sent["input"]["image"])) == red_and_blue
        assert colours(ask(http, base64.b64encode(FLAG).decode())) == red_and_blue
        with receiver(serve(FLAG)) as here, receiver(answer(404)) as nowhere:
            good, bad = (ask(http, one.url, wait=False)["id"] for one in (here, nowhere))

            def ended() -> dict[str, dict[str, Any]]:
                both = [http.get(f"/v1/predictions/{one}").json() for one in (good, bad)]
                return {one["id"]: one for one in both if one["completed_at"]}

            wait_until(lambda: len(ended()) == 2, 60, "both predictions' end")
            results = ended()
        assert colours(results[good]) == red_and_blue
        assert (results[bad]["status"], results[bad]["failure"]) == ("failed", "invalid_input")
        assert results[bad]["error"].endswith("answered with status 404")
        assert results[bad]["error"].startswith("input.image cannot be fetched: 127.0.0.1:")
