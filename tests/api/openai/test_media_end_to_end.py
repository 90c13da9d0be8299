"""OpenAI's client at the whole platform: a lane hears, draws and judges with small random models."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import httpx
import numpy as np
import pytest
import soundfile
import soxr
from openai import OpenAI
from openai.types import Image as OpenAIImage
from PIL import Image
from pydantic_core import to_jsonable_python

from model_types import registry
from model_types.base import VersionSpec
from model_types.media import InputFile, MediaLimits, audio
from model_types.speech_to_text.schema import Input
from tests.model_types import tiny_diffusion, tiny_encoders, whisper
from tests.model_types.nearly import same_numbers
from tests.stack import Stack

pytestmark = pytest.mark.slow

# "Oh dear! Oh dear! I shall be too late!" by `espeak-ng -v en-us -s 150`, written as Ogg Vorbis.
WHITE_RABBIT = (Path(__file__).parents[2] / "model_types" / "white_rabbit.ogg").read_bytes()


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


def stereo_mp3(recording: bytes) -> bytes:
    """The same in two channels at 44.1 kHz, as MP3."""
    samples, rate_hz = soundfile.read(BytesIO(recording), dtype="float32")
    louder = soxr.resample(samples, rate_hz, 44_100)
    file = BytesIO()
    soundfile.write(file, np.column_stack([louder, louder / 2]), 44_100, format="MP3")
    return file.getvalue()


def heard_here(folder: Path, recording: bytes) -> Any:
    """What the model writes in this process, as JSON."""
    spec = VersionSpec("1", "test/whisper", "speech-to-text", "transformers", str(folder))
    engine = registry.engine(spec)
    engine.load(spec, "cpu")
    sound = InputFile("x", "audio", content=audio.decode(recording, MediaLimits()))
    asked = Input(audio=sound, language="english", timestamps="word")
    return to_jsonable_python(engine.predict([engine.prepare(asked)])[0])


def streamed(client: OpenAI) -> tuple[list[str], str]:
    """The pieces that OpenAI's client is told of a recording's text, and the text at their end."""
    events = list(
        client.audio.transcriptions.create(
            model="test/whisper", file=("rabbit.ogg", WHITE_RABBIT), language="english", stream=True
        )
    )
    assert [event.type for event in events] == [
        *["transcript.text.delta"] * (len(events) - 1),
        "transcript.text.done",
    ]
    deltas = [event.delta for event in events if event.type == "transcript.text.delta"]
    done = events[-1]
    assert done.type == "transcript.text.done"
    return deltas, done.text


def asked_as_json(client: OpenAI) -> tuple[dict[str, Any], str]:
    """The prediction of a recording in JSON, and the text that its stream tells."""
    audio = f"data:audio/ogg;base64,{base64.b64encode(WHITE_RABBIT).decode()}"
    body = {"model": "test/whisper", "input": {"audio": audio, "language": "english", "timestamps": "word"}}
    headers = {"Authorization": f"Bearer {client.api_key}", "Prefer": "wait=60"}
    made = httpx.post(f"{client.base_url}predictions", json=body, headers=headers, timeout=60).json()
    events = httpx.get(made["urls"]["stream"], timeout=60).text.split("\n\n")
    told = [event.splitlines()[2:] for event in events if "event: output" in event]
    return made, "".join("\n".join(line.removeprefix("data: ") for line in lines) for lines in told)


def test_media_go_in_and_out(client: OpenAI, tmp_path: Path) -> None:
    def hear(name: str, recording: bytes) -> dict[str, Any]:
        return client.audio.transcriptions.create(
            model="test/whisper",
            file=(name, recording),
            language="english",
            response_format="verbose_json",
            timestamp_granularities=["word", "segment"],
        ).to_dict()

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

    heard = hear("rabbit.ogg", WHITE_RABBIT)
    assert heard["words"]
    told = {"task": "transcribe", "usage": {"type": "duration", "seconds": heard["duration"]}}
    here = heard_here(tmp_path / "whisper", WHITE_RABBIT)
    assert same_numbers(heard, here | told)
    again = hear("rabbit.mp3", stereo_mp3(WHITE_RABBIT))
    assert [heard["duration"], again["duration"]] == pytest.approx([3.804, 3.804], abs=0.05)

    made, stream = asked_as_json(client)
    assert made["metrics"]["input_audio_seconds"] == pytest.approx(heard["duration"], abs=0.001)
    assert same_numbers(made["output"], here)
    assert stream.split() == here["text"].split()
    pieces = 1
    # Whoever reads only after so small a model is done is told all of it at once.
    while pieces == 1:
        deltas, text = streamed(client)
        assert "".join(deltas) == text == here["text"]
        pieces = len(deltas)

    images = [base64.b64decode(image.b64_json or "") for image in draw(2, "b64_json")]
    assert [Image.open(BytesIO(data)).size for data in images] == [(64, 72), (64, 72)]
    assert images[0] != images[1]
    (linked,) = draw(1, "url")
    assert httpx.get(linked.url or "").content == images[0]

    judged: Any = client.moderations.create(model="test/judge", input="the cat sleeps").to_dict()
    (result,) = judged["results"]
    assert (result["flagged"], list(result["category_scores"])) == (True, ["rude"])
