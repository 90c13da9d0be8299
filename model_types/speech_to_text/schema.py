"""What a transcription takes, and what it gives back."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from model_types.media import AudioInput

Task = Literal["transcribe", "translate"]
Timestamps = Literal["none", "segment", "word"]


class Input(BaseModel):
    """A recording, and what to make of it."""

    model_config = ConfigDict(extra="forbid")

    audio: AudioInput = Field(
        title="Audio",
        description="The recording, of any length that this server takes: WAV, FLAC, Ogg or MP3.",
        json_schema_extra={"x-order": 0},
    )
    language: str | None = Field(
        default=None,
        min_length=2,
        max_length=32,
        title="Language",
        description="What is spoken, as a name or a code: `english` or `en`. Detected if left out.",
        json_schema_extra={"x-order": 1},
    )
    task: Task = Field(
        default="transcribe",
        title="Task",
        description="`transcribe` writes in the language that is spoken, `translate` in English.",
        json_schema_extra={"x-order": 2},
    )
    timestamps: Timestamps = Field(
        default="segment",
        title="Timestamps",
        description="Whether to tell when each `segment`, or also each `word`, begins and ends.",
        json_schema_extra={"x-order": 3},
    )
    temperature: float = Field(
        default=0.0,
        ge=0,
        le=1,
        title="Temperature",
        description="How freely to choose: 0 always takes the likeliest token, 1 follows the model's odds.",
        json_schema_extra={"x-order": 4},
    )
    prompt: str | None = Field(
        default=None,
        max_length=4096,
        title="Prompt",
        description="Text that might have come before: names and spellings to expect. Of a long one, the end "
        "counts.",
        json_schema_extra={"x-order": 5},
    )
    seed: int | None = Field(
        default=None,
        ge=0,
        lt=2**63,
        title="Seed",
        description="With a temperature, the same seed gives the same text. Random if left out.",
        json_schema_extra={"x-order": 6},
    )


class Segment(BaseModel):
    """A phrase or a sentence; times are seconds from the recording's beginning.

    The rest tells how it came about, under the names that Whisper's own code has for it. `seek` is where the
    window begins that it was heard in, in hundredths of a second, and `tokens` are those of its text. The
    last three are the whole window's: the mean natural logarithm of its tokens' probabilities, how much
    smaller its text is once compressed, and how likely nobody spoke (null where a checkpoint has no token
    for that).
    """

    id: int
    seek: int
    start: float
    end: float
    text: str
    tokens: list[int]
    temperature: float
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float | None


class Word(BaseModel):
    """A word with the punctuation that touches it; times are seconds from the recording's beginning."""

    start: float
    end: float
    word: str


class Transcript(BaseModel):
    """What is said in a recording of `duration` seconds.

    `language` is a code such as "en". `segments` and `words` are null where they were not asked for.
    """

    text: str
    language: str
    duration: float
    segments: list[Segment] | None
    words: list[Word] | None
