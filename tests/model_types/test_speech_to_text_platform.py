"""Speech to text through the whole platform: recordings come as files, transcripts go out as JSON."""

from __future__ import annotations

import base64
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from pydantic_core import to_jsonable_python

from model_types import registry
from model_types.base import VersionSpec
from model_types.media import InputFile, MediaLimits, audio
from model_types.speech_to_text.schema import Input
from tests.model_types import whisper
from tests.stack import Stack

pytestmark = pytest.mark.slow

# "Oh dear! Oh dear! I shall be too late!" by `espeak-ng -v en-us -s 150`, written as Ogg Vorbis.
WHITE_RABBIT = (Path(__file__).parent / "white_rabbit.ogg").read_bytes()


def stereo_mp3(recording: bytes) -> bytes:
    """The same in two channels at 44.1 kHz, as MP3."""
    samples, rate_hz = soundfile.read(BytesIO(recording), dtype="float32")
    louder = soxr.resample(samples, rate_hz, 44_100)
    file = BytesIO()
    soundfile.write(file, np.column_stack([louder, louder / 2]), 44_100, format="MP3")
    return file.getvalue()


def test_a_recording_goes_in_and_its_transcript_comes_out(
    tmp_path: Path, make_stack: Callable[..., Stack]
) -> None:
    whisper.build(tmp_path / "model")
    stack = make_stack()
    stack.start(pools=("speech-to-text",))
    asked = {"language": "english", "timestamps": "word"}
    with stack.client() as client:
        version = {"model_type": "speech-to-text", "model_path": str(tmp_path / "model")}
        client.add_model({"owner": "test", "name": "whisper", **version})
        outputs = [
            client.predict(
                "test/whisper", {"audio": base64.b64encode(file).decode(), **asked}, wait_seconds=60
            )["output"]
            for file in (WHITE_RABBIT, stereo_mp3(WHITE_RABBIT))
        ]

    spec = VersionSpec("1", "test/whisper", "speech-to-text", "transformers", version["model_path"])
    engine = registry.engine(spec)
    engine.load(spec, "cpu")
    sound = audio.decode(WHITE_RABBIT, MediaLimits())
    here = Input.model_validate({"audio": InputFile("x", "audio", content=sound), **asked})
    assert outputs[0] == to_jsonable_python(engine.predict([engine.prepare(here)])[0])
    assert outputs[0]["words"]
    assert [output["duration"] for output in outputs] == pytest.approx([3.804, 3.804], abs=0.05)
    assert [output["language"] for output in outputs] == ["en", "en"]
