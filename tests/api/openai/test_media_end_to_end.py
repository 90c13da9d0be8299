"""OpenAI's client at the whole platform: a lane hears, draws and judges with small random models."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Literal

import httpx
import pytest
from openai import OpenAI
from openai.types import Image as OpenAIImage
from PIL import Image

from tests.model_types import tiny_diffusion, tiny_encoders, whisper
from tests.stack import Stack

pytestmark = pytest.mark.slow

RECORDING = Path(__file__).parents[2] / "model_types" / "white_rabbit.ogg"


@pytest.fixture
def client(tmp_path: Path, make_stack: Callable[..., Stack]) -> Iterator[OpenAI]:
    whisper.build(tmp_path / "whisper")
    tiny_diffusion.build(tmp_path / "painter")
    tiny_encoders.build_classifier(tmp_path / "judge", id2label={0: "kind", 1: "rude"})
    types = {"whisper": "speech-to-text", "painter": "text-to-image", "judge": "classification"}
    stack = make_stack()
    stack.start(pools=tuple(types.values()))
    with stack.client() as operator:
        for name, model_type in types.items():
            version = {"model_type": model_type, "model_path": str(tmp_path / name)}
            options = {"moderation": {"rude": 0.0}} if name == "judge" else {}
            operator.add_model({"owner": "test", "name": name, "options": options, **version})
    with OpenAI(base_url=f"{stack.url}/v1", api_key=stack.token(), timeout=60) as made:
        yield made


def test_media_go_in_and_out_by_openais_client(client: OpenAI) -> None:
    transcriptions = client.audio.transcriptions
    verbose = transcriptions.create(
        model="test/whisper",
        file=RECORDING,
        language="en",
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
    )
    assert verbose.duration == pytest.approx(3.804, abs=0.01)
    assert verbose.segments
    assert verbose.words
    for segment in verbose.segments:
        assert segment.avg_logprob < 0
        assert segment.tokens
        assert 0 <= segment.no_speech_prob <= 1
    subtitles = transcriptions.create(model="test/whisper", file=RECORDING, response_format="vtt")
    assert subtitles.startswith("WEBVTT\n\n00:00:0")

    def draw(n: int, response_format: Literal["url", "b64_json"]) -> list[OpenAIImage]:
        return (
            client.images.generate(
                model="test/painter",
                prompt="a rabbit",
                size="64x72",
                n=n,
                response_format=response_format,
                extra_body={"seed": 1},
            ).data
            or []
        )

    images = [base64.b64decode(image.b64_json or "") for image in draw(2, "b64_json")]
    assert [Image.open(BytesIO(data)).size for data in images] == [(64, 72), (64, 72)]
    assert images[0] != images[1]
    (again,) = draw(1, "url")
    assert httpx.get(again.url or "").content == images[0]

    judged = client.moderations.create(model="test/judge", input="the cat sleeps")
    assert [(result.flagged, list(result.category_scores.to_dict())) for result in judged.results] == [
        (True, ["rude"])
    ]
