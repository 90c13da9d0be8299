"""What a text generation takes: the prompt, how long to write, and how to choose among words."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.config import JsonDict

from model_types.text_generation.fields import JSON_SCHEMA, LOGPROBS, JsonSchema, StopString, TopLogprobs

DEFAULT_NEW_TOKENS = 128
BYTES_PER_TOKEN = 4


def _given(field: str, json_type: str) -> JsonDict:
    """A schema that holds where the field is there and not null."""
    return {"required": [field], "properties": {field: {"type": json_type}}}


class Message(BaseModel):
    """One turn of a conversation."""

    model_config = ConfigDict(extra="forbid")

    role: Literal["system", "user", "assistant"] = Field(title="Role", description="Who speaks.")
    content: str = Field(title="Content", description="What is said.")


class Input(BaseModel):
    """A prompt or a conversation, and how to go on from it."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "oneOf": [_given("prompt", "string"), _given("messages", "array")],
            "not": {"allOf": [_given("max_new_tokens", "integer"), _given("max_length", "integer")]},
        },
    )

    prompt: str | None = Field(
        default=None,
        min_length=1,
        title="Prompt",
        description="The text to continue. Give either this or `messages`.",
        json_schema_extra={"x-order": 0},
    )
    messages: list[Message] | None = Field(
        default=None,
        min_length=1,
        title="Messages",
        description="The conversation to answer, oldest turn first; for models that have a chat template.",
        json_schema_extra={"x-order": 1},
    )
    max_new_tokens: int | None = Field(
        default=None,
        ge=1,
        le=4096,
        title="Max new tokens",
        description=f"How many tokens to write at most: {DEFAULT_NEW_TOKENS} unless you say otherwise.",
        json_schema_extra={"x-order": 2},
    )
    max_length: int | None = Field(
        default=None,
        ge=1,
        le=131_072,
        title="Max length",
        description="How many tokens the prompt and the continuation may have together, in place of "
        "`max_new_tokens`.",
        json_schema_extra={"x-order": 3},
    )
    temperature: float = Field(
        default=0.7,
        ge=0,
        le=2,
        title="Temperature",
        description="How freely to choose: 0 always takes the likeliest token, 1 follows the model's odds.",
        json_schema_extra={"x-order": 4},
    )
    top_p: float = Field(
        default=0.95,
        gt=0,
        le=1,
        title="Top p",
        description="Choose among the likeliest tokens that together have this probability; 1 is all.",
        json_schema_extra={"x-order": 5},
    )
    top_k: int = Field(
        default=0,
        ge=0,
        title="Top k",
        description="Choose among this many of the likeliest tokens; 0 is all.",
        json_schema_extra={"x-order": 6},
    )
    repetition_penalty: float = Field(
        default=1.0,
        gt=0,
        le=10,
        title="Repetition penalty",
        description="Above 1 makes tokens less likely that the text already has; 1 leaves them alone.",
        json_schema_extra={"x-order": 7},
    )
    stop: StopString | Annotated[list[StopString], Field(max_length=4)] | None = Field(
        default=None,
        title="Stop",
        description="Up to four strings; the continuation ends before the first that would appear in it.",
        json_schema_extra={"x-order": 8},
    )
    seed: int | None = Field(
        default=None,
        ge=0,
        lt=2**63,
        title="Seed",
        description="The same seed gives the same text, whatever else runs beside it. Random if left out.",
        json_schema_extra={"x-order": 9},
    )
    logprobs: TopLogprobs | None = Field(
        default=None, title="Logprobs", description=LOGPROBS, json_schema_extra={"x-order": 10}
    )
    json_schema: JsonSchema | None = Field(
        default=None, title="JSON schema", description=JSON_SCHEMA, json_schema_extra={"x-order": 11}
    )

    @model_validator(mode="after")
    def _one_of_each_pair(self) -> Self:
        if (self.prompt is None) == (self.messages is None):
            raise ValueError("give exactly one of prompt and messages")
        if self.max_new_tokens is not None and self.max_length is not None:
            raise ValueError("give at most one of max_new_tokens and max_length")
        return self

    @property
    def stop_strings(self) -> tuple[str, ...]:
        """`stop` as a tuple, empty when there is none."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())


def cost(value: BaseModel) -> int:
    """Roughly how many tokens an `Input` will fill: good enough to form batches, without a tokenizer."""
    assert isinstance(value, Input)
    texts = [value.prompt] if value.prompt is not None else [turn.content for turn in value.messages or ()]
    prompt_tokens = sum(len(text.encode()) for text in texts) // BYTES_PER_TOKEN
    if value.max_length is not None:
        return max(prompt_tokens, value.max_length)
    return prompt_tokens + (value.max_new_tokens or DEFAULT_NEW_TOKENS)
