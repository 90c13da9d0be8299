"""Transcriptions and translations of recordings: a prediction of speech to text each."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from api.compat.openai import subtitles
from api.compat.openai.forms import FILE, admitted_form, form_described
from api.compat.openai.operations import Input
from api.compat.openai.requests import while_connected
from api.compat.openai.running import Call, call
from api.compat.openai.schemas.audio import (
    DurationUsage,
    TranscriptDelta,
    TranscriptDone,
    Transcription,
    TranscriptionForm,
    TranslationForm,
    VerboseTranscription,
)
from api.compat.openai.schemas.chat import FinishReason
from api.compat.openai.streaming import streamed
from api.credentials import Principal
from api.services.inputs import Upload
from model_types.speech_to_text.schema import Task, Transcript

router = APIRouter(prefix="/v1/audio", tags=["openai"])

PARAMETERS = {"audio": FILE, "timestamps": "timestamp_granularities"}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "model": Transcription | VerboseTranscription,
        "content": {name: {"schema": {"type": "string"}} for name in ("text/plain", "text/event-stream")},
        "description": "JSON, or plain text for `text`, `srt` and `vtt`; events with `stream`.",
    }
}


@router.post("/transcriptions", responses=_ANSWERS, openapi_extra=form_described(TranscriptionForm))
async def transcribe(request: Request) -> Response:
    """Write down what is said in a recording, as OpenAI's API does: at once, or in pieces with `stream`."""
    principal, form, audio = await admitted_form(request, TranscriptionForm)
    asked = await _call(request, principal, form, audio)
    given = _input(form, "transcribe", language=form.language)
    if form.stream:
        records = await while_connected(request, asked.begin([given]))
        return await streamed(asked, records, TranscriptChunks())
    transcript = await _heard(asked, given)
    if "segment" not in form.timestamp_granularities:
        transcript.segments = None
    return _answer(form, transcript, "transcribe")


@router.post("/translations", responses=_ANSWERS, openapi_extra=form_described(TranslationForm))
async def translate(request: Request) -> Response:
    """Write down in English what is said in a recording, as OpenAI's API does."""
    principal, form, audio = await admitted_form(request, TranslationForm)
    asked = await _call(request, principal, form, audio)
    transcript = await _heard(asked, _input(form, "translate"))
    # Of a translation, OpenAI tells the language that it is in.
    transcript.language = "english"
    return _answer(form, transcript, "translate")


async def _call(request: Request, principal: Principal, form: TranslationForm, audio: bytes) -> Call:
    asked = await call(request, principal, form.model, ("speech-to-text",), PARAMETERS)
    return replace(asked, uploads=[Upload("audio", audio)])


def _input(form: TranslationForm, task: Task, *, language: str | None = None) -> Input:
    values = {
        "task": task,
        "language": language,
        "timestamps": form.timestamps,
        "temperature": form.temperature,
        "prompt": form.prompt,
        "seed": form.seed,
    }
    return {name: value for name, value in values.items() if value is not None}


async def _heard(asked: Call, given: Input) -> Transcript:
    (record,) = await asked.run([given])
    return Transcript.model_validate(record.output)


@dataclass(frozen=True, slots=True)
class TranscriptChunks:
    """The events of one transcript, whose last one has all that was told before."""

    _told: list[str] = field(default_factory=list)

    def first(self, choice: int) -> None:
        """A transcript begins with its text."""

    def text(self, choice: int, text: str) -> TranscriptDelta:
        self._told.append(text)
        return TranscriptDelta(delta=text)

    def last(self, choice: int, reason: FinishReason) -> TranscriptDone:
        return TranscriptDone(text="".join(self._told))


def _answer(form: TranslationForm, transcript: Transcript, task: Task) -> Response:
    usage = DurationUsage(seconds=transcript.duration)
    segments = transcript.segments or []
    match form.response_format:
        case "text":
            return _plain(transcript.text + "\n")
        case "srt":
            return _plain(subtitles.srt(segments))
        case "vtt":
            return _plain(subtitles.vtt(segments))
        case "json":
            return _json(Transcription(text=transcript.text, usage=usage))
        case "verbose_json":
            return _json(VerboseTranscription(task=task, usage=usage, **transcript.model_dump()))


def _plain(text: str) -> Response:
    return Response(text, media_type="text/plain")


def _json(answer: BaseModel) -> Response:
    return Response(answer.model_dump_json(exclude_none=True), media_type="application/json")
