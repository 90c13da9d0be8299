"""Fields that several of OpenAI's requests share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue

from db.states import Priority

# As many as OpenAI gives for one request.
MAX_CHOICES = 128
# OpenAI's seeds are any 64-bit integers, a model's are not negative.
SEEDS = 2**63


def _only(*harmless: JsonValue) -> Callable[[JsonValue], JsonValue]:
    def check(value: JsonValue) -> JsonValue:
        if value not in harmless:
            raise ValueError("is not supported here: leave it out")
        return value

    return check


def _texts(value: JsonValue) -> JsonValue:
    if isinstance(value, list) and any(isinstance(item, int | list) for item in value):
        raise ValueError("must be a text or a list of texts: token ids are not taken here")
    return [value] if isinstance(value, str) else value


Texts = Annotated[list[str], BeforeValidator(_texts, json_schema_input_type=str | list[str])]
"""A text or several, as a list."""
Ignored = Annotated[JsonValue, Field(description="Accepted, and of no effect.")]
Off = Annotated[JsonValue, AfterValidator(_only(None, False, 0)), Field(description="Not supported.")]
"""What cannot be switched on here."""
AtMostOne = Annotated[JsonValue, AfterValidator(_only(None, 1)), Field(description="At most 1.")]
"""What there is one of here."""
Unused = Annotated[JsonValue, AfterValidator(_only(None, "", [], {})), Field(description="Not supported.")]
"""What must be empty here."""
TextOnly = Annotated[
    JsonValue,
    AfterValidator(_only(None, "none", "auto", ["text"], {"type": "text"})),
    Field(description="Only what stands for plain text."),
]
"""What may ask for plain text, which is what there is."""


class OpenAIRequest(BaseModel):
    """A request's body. Unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", strict=True)

    model: str = Field(description="owner/name, or whatever else a prediction's model is named by.")
    user: Ignored = None


class StreamOptions(BaseModel):
    """How an answer is streamed."""

    model_config = ConfigDict(extra="forbid", strict=True)

    include_usage: bool = False
    include_obfuscation: Ignored = None


class Sampling(OpenAIRequest):
    """How to write a text. What is left out is as the model has it by default."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = Field(None, description="Beyond OpenAI's: choose among the likeliest tokens.")
    repetition_penalty: float | None = Field(None, description="Beyond OpenAI's: above 1, repeat less.")
    max_tokens: int | None = Field(None, description="How many tokens to write at most.")
    stop: Texts | None = None
    seed: int | None = Field(None, description="Choice i has seed + i.")
    n: int | None = Field(None, ge=1, le=MAX_CHOICES, description="How many choices: a prediction each.")
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    service_tier: Literal["auto", "default", "flex", "scale", "priority", "fast"] | None = Field(
        None, description="`flex` lets others go first; the rest change nothing."
    )
    frequency_penalty: Off = None
    presence_penalty: Off = None
    logit_bias: Unused = None

    @property
    def priority(self) -> Priority:
        """How urgent the predictions are."""
        return Priority.FLEX if self.service_tier == "flex" else Priority.DEFAULT

    @property
    def includes_usage(self) -> bool:
        """Whether a stream tells the usage at its end."""
        return self.stream_options is not None and self.stream_options.include_usage

    @property
    def most_tokens(self) -> int | None:
        """How many tokens may be written, by whichever name."""
        return self.max_tokens

    @property
    def alternatives(self) -> int | None:
        """How many of the likeliest tokens to tell in each token's place; None for no logprobs at all."""
        return None

    @property
    def wanted(self) -> dict[str, Any] | None:
        """The JSON Schema that texts are to fit, if there is one."""
        return None

    def sampling(self, choice: int) -> dict[str, Any]:
        """The fields of a model's input that say how its choice of this number, from 0, is written."""
        values: dict[str, Any] = {
            "max_new_tokens": self.most_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "top_k": self.top_k,
            "repetition_penalty": self.repetition_penalty,
            "stop": self.stop,
            "seed": None if self.seed is None else (self.seed + choice) % SEEDS,
            "logprobs": self.alternatives,
            "json_schema": self.wanted,
        }
        return {name: value for name, value in values.items() if value is not None}


class Usage(BaseModel):
    """How many tokens were read and written."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ReadUsage(BaseModel):
    """How many tokens were read, where none are written."""

    prompt_tokens: int
    total_tokens: int
