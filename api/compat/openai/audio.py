"""Transcriptions and translations of recordings: a prediction of speech to text each."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from api.compat.openai import subtitles
from api.compat.openai.forms import FILE, admitted_form, form_described
from api.compat.openai.running import call
from api.compat.openai.schemas.audio import (
    DurationUsage,
    Transcription,
    TranscriptionForm,
    TranslationForm,
    VerboseTranscription,
)
from api.credentials import Principal
from api.services.inputs import Upload
from model_types.speech_to_text.schema import Transcript

router = APIRouter(prefix="/v1/audio", tags=["openai"])

PARAMETERS = {"audio": FILE, "timestamps": "timestamp_granularities"}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "model": Transcription | VerboseTranscription,
        "content": {"text/plain": {"schema": {"type": "string"}}},
        "description": "JSON, or plain text for `text`, `srt` and `vtt`.",
    }
}


@router.post("/transcriptions", responses=_ANSWERS, openapi_extra=form_described(TranscriptionForm))
async def transcribe(request: Request) -> Response:
    """Write down what is said in a recording, as OpenAI's API does."""
    principal, form, audio = await admitted_form(request, TranscriptionForm)
    transcript = await _heard(request, principal, form, audio, "transcribe", language=form.language)
    if "segment" not in form.timestamp_granularities:
        transcript.segments = None
    return _answer(form, transcript, "transcribe")


@router.post("/translations", responses=_ANSWERS, openapi_extra=form_described(TranslationForm))
async def translate(request: Request) -> Response:
    """Write down in English what is said in a recording, as OpenAI's API does."""
    principal, form, audio = await admitted_form(request, TranslationForm)
    transcript = await _heard(request, principal, form, audio, "translate")
    # Of a translation, OpenAI tells the language that it is in.
    transcript.language = "english"
    return _answer(form, transcript, "translate")


async def _heard(
    request: Request,
    principal: Principal,
    form: TranslationForm,
    audio: bytes,
    task: Literal["transcribe", "translate"],
    *,
    language: str | None = None,
) -> Transcript:
    asked = await call(request, principal, form.model, ("speech-to-text",), PARAMETERS)
    values = {
        "task": task,
        "language": language,
        "timestamps": form.timestamps,
        "temperature": form.temperature,
        "prompt": form.prompt,
        "seed": form.seed,
    }
    given = {name: value for name, value in values.items() if value is not None}
    (record,) = await replace(asked, uploads=[Upload("audio", audio)]).run([given])
    return Transcript.model_validate(record.output)


def _answer(
    form: TranslationForm, transcript: Transcript, task: Literal["transcribe", "translate"]
) -> Response:
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
