"""Transcriptions and translations, as OpenAI's client asks for them and as the queue sees them."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from io import BytesIO
from typing import Any

import numpy as np
import openai
import pytest
import soundfile
from sqlalchemy import text

from tests.api.openai.conftest import MODEL, Scene, Stage
from tests.api.streaming import following, write

pytestmark = pytest.mark.anyio

PATH = "/v1/audio/transcriptions"


def wav(seconds: float = 0.5) -> bytes:
    """Silence, at 8 kHz."""
    file = BytesIO()
    soundfile.write(file, np.zeros(int(seconds * 8000), np.float32), 8000, format="WAV")
    return file.getvalue()


SOUND = ("dear.wav", wav(), "audio/wav")


def segment(number: int, start: float, end: float, text: str) -> dict[str, Any]:
    return {
        "id": number,
        "seek": 0,
        "start": start,
        "end": end,
        "text": text,
        "tokens": [50, 60],
        "temperature": 0.0,
        "avg_logprob": -0.25,
        "compression_ratio": 0.8,
        "no_speech_prob": 0.01,
    }


SEGMENTS = [segment(0, 0.0, 1.5, "Oh dear!"), segment(1, 3661.25, 3662.0, "Late --> <b>&\n\nlater")]
WORDS = [{"start": 0.0, "end": 0.5, "word": "Oh"}, {"start": 0.5, "end": 1.5, "word": "dear!"}]


def transcript(**changes: Any) -> dict[str, Any]:
    whole = {"text": "Oh dear!", "language": "en", "duration": 3662.5, "segments": None, "words": None}
    return whole | changes


@pytest.fixture
async def speech(stage: Stage) -> AsyncIterator[Scene]:
    """A model that writes down what it hears."""
    async with stage("speech-to-text") as scene:
        yield scene


def ask(scene: Scene, **changes: Any) -> asyncio.Task[Any]:
    """A request that waits for its answer while the test goes on."""
    arguments: dict[str, Any] = {"model": MODEL, "file": SOUND} | changes
    return asyncio.create_task(scene.client.audio.transcriptions.create(**arguments))


async def answered(scene: Scene, asking: asyncio.Task[Any], **output: Any) -> tuple[dict[str, Any], Any]:
    """What the queue saw, without the file, and what the client gets."""
    (lease,) = await scene.asked()
    await scene.answer(lease, transcript(**output))
    assert lease.input["audio"].startswith("blob:inputs/")
    return {name: value for name, value in lease.input.items() if name != "audio"}, await asking


@pytest.mark.slow
async def test_a_recording_becomes_a_prediction_and_its_text_comes_back(speech: Scene) -> None:
    seen, transcription = await answered(speech, ask(speech))
    assert seen == {"task": "transcribe", "timestamps": "none"}
    assert transcription.text == "Oh dear!"
    assert (transcription.usage.type, transcription.usage.seconds) == ("duration", 3662.5)


@pytest.mark.slow
async def test_what_is_asked_for_reaches_the_model(speech: Scene) -> None:
    asking = ask(
        speech, language="en", prompt="Alice", temperature=0.4, extra_body={"seed": 7, "user": "ann"}
    )
    seen, _ = await answered(speech, asking)
    assert seen == {
        "task": "transcribe",
        "timestamps": "none",
        "language": "en",
        "prompt": "Alice",
        "temperature": 0.4,
        "seed": 7,
    }


@pytest.mark.slow
async def test_verbose_json_has_segments_with_all_their_numbers(speech: Scene) -> None:
    asking = ask(speech, response_format="verbose_json")
    seen, transcription = await answered(speech, asking, segments=SEGMENTS)
    assert seen["timestamps"] == "segment"
    assert (transcription.duration, transcription.language) == (3662.5, "en")
    assert [segment.to_dict() for segment in transcription.segments] == SEGMENTS
    assert transcription.words is None


@pytest.mark.slow
@pytest.mark.parametrize("granularities", [["word"], ["word", "segment"]])
async def test_words_have_their_times_and_segments_only_if_asked_for(
    speech: Scene, granularities: list[str]
) -> None:
    asking = ask(speech, response_format="verbose_json", timestamp_granularities=granularities)
    seen, transcription = await answered(speech, asking, segments=SEGMENTS, words=WORDS)
    assert seen["timestamps"] == "word"
    assert [word.to_dict() for word in transcription.words] == WORDS
    assert (transcription.segments is not None) == ("segment" in granularities)


@pytest.mark.slow
async def test_plain_formats_come_as_plain_text(speech: Scene) -> None:
    expected = {
        "text": "Oh dear!\n",
        "srt": "1\n00:00:00,000 --> 00:00:01,500\nOh dear!\n\n"
        "2\n01:01:01,250 --> 01:01:02,000\nLate -> <b>& later\n\n",
        "vtt": "WEBVTT\n\n00:00:00.000 --> 00:00:01.500\nOh dear!\n\n"
        "01:01:01.250 --> 01:01:02.000\nLate -> &lt;b>&amp; later\n\n",
    }
    for response_format, written in expected.items():
        asking = ask(speech, response_format=response_format)
        assert (await answered(speech, asking, segments=SEGMENTS))[1] == written


@pytest.mark.slow
async def test_a_stream_tells_segments_before_the_transcript_is_complete(speech: Scene) -> None:
    asking = ask(speech, stream=True, language="en")
    (lease,) = await speech.asked()
    assert (lease.input["timestamps"], lease.input["language"]) == ("segment", "en")
    await write(speech.redis_url, lease.id, ("output", "Oh dear!"))
    stream = aiter(await asking)
    first = await anext(stream)
    assert (first.type, first.delta) == ("transcript.text.delta", "Oh dear!")
    await write(speech.redis_url, lease.id, ("output", " Late."))
    await speech.answer(lease, transcript(text="Oh dear! Late. Too late.", segments=SEGMENTS))
    told = [event.to_dict() async for event in stream]
    # What no lane has told comes out of the transcript.
    assert told == [
        {"type": "transcript.text.delta", "delta": " Late."},
        {"type": "transcript.text.delta", "delta": " Too late."},
        {"type": "transcript.text.done", "text": "Oh dear! Late. Too late."},
    ]


@pytest.mark.slow
async def test_a_stream_of_a_silent_recording_is_done_at_once(speech: Scene) -> None:
    asking = ask(speech, stream=True)
    (lease,) = await speech.asked()
    await speech.answer(lease, transcript(text="", segments=[]))
    told = [event.to_dict() async for event in await asking]
    assert told == [{"type": "transcript.text.done", "text": ""}]


@pytest.mark.slow
async def test_who_follows_the_prediction_reads_its_text_and_who_polls_the_transcript(
    speech: Scene,
) -> None:
    audio = f"data:audio/wav;base64,{base64.b64encode(wav()).decode()}"
    made = (await speech.post("/v1/predictions", input={"audio": audio}, stream=True)).json()
    (lease,) = await speech.asked()
    async with speech.served.gateway.engine.connect() as connection:
        await connection.execute(
            text("INSERT INTO partials (id, attempt, output, logs) VALUES (:id, 1, :output, '')"),
            {"id": lease.id, "output": '{"text": "Oh dear!"}'},
        )
    async with following(speech.http, made) as listener:
        events = listener.read()
        assert (await anext(events)).data == "Oh dear!"
        ended = transcript(text="Oh dear! Late.", segments=SEGMENTS)
        await speech.answer(lease, ended)
        assert [(event.name, event.data) async for event in events] == [("output", " Late."), ("done", "{}")]
    found = await speech.http.get(f"/v1/predictions/{lease.id}", headers=speech.root)
    assert found.json()["output"] == ended


@pytest.mark.slow
async def test_what_the_model_cannot_do_has_a_status_also_with_a_stream(speech: Scene) -> None:
    asking = ask(speech, stream=True, language="elvish")
    (lease,) = await speech.asked()
    await speech.fail(lease, "invalid_input", "this model knows no language 'elvish'")
    with pytest.raises(openai.BadRequestError, match="knows no language 'elvish'"):
        await asking


@pytest.mark.slow
async def test_a_translation_is_in_english(speech: Scene) -> None:
    with pytest.warns(DeprecationWarning, match="deprecated"):  # in OpenAI's client alone
        asked = speech.client.audio.translations.create(
            model=MODEL, file=SOUND, response_format="verbose_json"
        )
    asking = asyncio.create_task(asked)
    seen, translation = await answered(speech, asking, language="fr", segments=SEGMENTS)
    assert seen == {"task": "translate", "timestamps": "segment"}
    assert (translation.language, translation.text) == ("english", "Oh dear!")
    assert [segment.text for segment in translation.segments] == [segment["text"] for segment in SEGMENTS]


@pytest.mark.slow
async def test_what_cannot_be_done_is_named(speech: Scene) -> None:
    cases: list[tuple[str, str, dict[str, Any]]] = [
        ("stream", "is for the response_format json", {"stream": True, "response_format": "srt"}),
        ("response_format", "should be 'json'", {"response_format": "diarized_json"}),
        ("timestamp_granularities", "in verbose_json only", {"timestamp_granularities": ["word"]}),
        ("include", "is not supported", {"include": ["logprobs"]}),
        ("known_speaker_names", "is not supported", {"known_speaker_names": ["Alice"]}),
        ("temperature", "should be less than or equal to 1", {"temperature": 2}),
        ("language", "at least 2 characters", {"language": "e"}),
        ("loudness", "is not a known field", {"extra_body": {"loudness": 3}}),
        ("file", "is not audio", {"file": ("dear.wav", b"no sound", "audio/wav")}),
    ]
    for param, message, changes in cases:
        with pytest.raises(openai.BadRequestError) as refused:
            await ask(speech, **changes)
        assert (refused.value.param, refused.value.type) == (param, "invalid_request_error")
        assert message in refused.value.message


@pytest.mark.slow
async def test_what_the_model_cannot_do_is_the_requests_fault(speech: Scene) -> None:
    asking = ask(speech, language="elvish")
    (lease,) = await speech.asked()
    await speech.fail(lease, "invalid_input", "this model knows no language 'elvish'")
    with pytest.raises(openai.BadRequestError, match="knows no language 'elvish'"):
        await asking


@pytest.mark.slow
async def test_the_file_must_be_one(speech: Scene) -> None:
    as_text = {"model": MODEL, "file": "dear.wav"}
    for refused in (
        await speech.http.post(PATH, headers=speech.root, data=as_text),
        await speech.http.post(PATH, headers=speech.root, json=as_text),
    ):
        assert refused.status_code == 400
        assert refused.json()["error"]["param"] == "file"


@pytest.mark.slow
async def test_a_form_that_cannot_be_read_is_refused(speech: Scene) -> None:
    headers = speech.root | {"content-type": "multipart/form-data; boundary=x"}
    refused = await speech.http.post(PATH, headers=headers, content=b"--x\r\nnothing")
    assert refused.status_code == 400
    assert refused.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.slow
async def test_a_recording_that_is_too_large_is_told_so(stage: Stage) -> None:
    async with stage("speech-to-text", max_input_bytes=4096) as scene:
        with pytest.raises(openai.APIStatusError, match="larger than 4 KiB") as refused:
            await ask(scene)
    assert refused.value.status_code == 413
    assert refused.value.body == {
        "message": "file is larger than 4 KiB, which is the most",
        "type": "invalid_request_error",
        "param": "file",
        "code": "request_too_large",
    }


@pytest.mark.slow
async def test_a_model_of_another_type_hears_nothing(stage: Stage) -> None:
    async with stage("embeddings") as scene:
        with pytest.raises(openai.BadRequestError, match="is for speech-to-text") as refused:
            await ask(scene)
        assert refused.value.param == "model"
        with pytest.raises(openai.NotFoundError) as unknown:
            await ask(scene, model="root/nobody")
        assert unknown.value.code == "model_not_found"
