"""Transcriptions and translations on the wire."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from api.compat.openai.schemas.fields import Ignored, Unused
from model_types.speech_to_text.schema import Segment, Word

Granularity = Literal["word", "segment"]


def _list(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


class TranslationForm(BaseModel):
    """The fields of POST /v1/audio/translations beside its file. Those that are empty count as left out."""

    model_config = ConfigDict(extra="forbid")

    model: str = Field(description="owner/name, or whatever else a prediction's model is named by.")
    prompt: str | None = Field(None, description="Text that might have come before.")
    response_format: Literal["json", "text", "srt", "verbose_json", "vtt"] = "json"
    temperature: float | None = None
    seed: int | None = Field(None, description="Beyond OpenAI's: the same seed gives the same text.")
    user: Ignored = None

    @model_validator(mode="before")
    @classmethod
    def _without_empty_fields(cls, fields: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in fields.items() if value not in ("", [])}

    @property
    def timestamps(self) -> str:
        """What a model is to tell of times, in the words of its input."""
        return "none" if self.response_format in ("json", "text") else "segment"


class TranscriptionForm(TranslationForm):
    """The fields of POST /v1/audio/transcriptions beside its file."""

    language: str | None = Field(None, description="What is spoken, as a code or a name; else detected.")
    timestamp_granularities: Annotated[list[Granularity], BeforeValidator(_list)] = Field(
        ["segment"], description="What verbose_json tells the times of."
    )
    stream: bool = Field(False, description="Tell the text segment by segment, in json only.")
    chunking_strategy: Literal["auto"] | None = Field(None, description="Windows are the model's own.")
    include: Unused = None
    keywords: Unused = None
    languages: Unused = None
    known_speaker_names: Unused = None
    known_speaker_references: Unused = None

    @field_validator("timestamp_granularities")
    @classmethod
    def _have_a_place(cls, value: list[Granularity], info: ValidationInfo) -> list[Granularity]:
        if info.data.get("response_format") != "verbose_json":
            raise ValueError("are told in verbose_json only")
        return value

    @field_validator("stream")
    @classmethod
    def _has_one_format(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("response_format") != "json":
            raise ValueError("is for the response_format json")
        return value

    @property
    def timestamps(self) -> str:
        """What a model is to tell of times, in the words of its input."""
        if self.stream:
            # By their times a model knows segments, which it tells one by one.
            return "segment"
        return "word" if "word" in self.timestamp_granularities else super().timestamps


class DurationUsage(BaseModel):
    """How much was heard."""

    type: Literal["duration"] = "duration"
    seconds: float


class Transcription(BaseModel):
    """What is said in a recording."""

    text: str
    usage: DurationUsage


class TranscriptDelta(BaseModel):
    """The next piece of a transcript's text."""

    type: Literal["transcript.text.delta"] = "transcript.text.delta"
    delta: str


class TranscriptDone(BaseModel):
    """The end of a transcript, and all of its text."""

    type: Literal["transcript.text.done"] = "transcript.text.done"
    text: str


class VerboseTranscription(BaseModel):
    """What is said in a recording, and when. What was not asked for is left out."""

    task: Literal["transcribe", "translate"]
    language: str
    duration: float = Field(description="Seconds.")
    text: str
    segments: list[Segment] | None
    words: list[Word] | None
    usage: DurationUsage
