"""Chat completions on the wire."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    ValidationInfo,
    field_validator,
)

from api.compat.openai.schemas.fields import Ignored, Sampling, TextOnly, Unused, Usage
from api.compat.openai.schemas.logprobs import ChatLogprobs
from api.compat.openai.schemas.response_format import ResponseFormat
from model_types.text_generation.fields import TopLogprobs


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class TextPart(_Part):
    """A part of a message that is text."""

    type: Literal["text"]
    text: str


class ImageUrl(_Part):
    """Where an image is: an http(s) URL, a `data:` URI, or base64."""

    url: str
    detail: Ignored = None


def _as_url(value: JsonValue) -> JsonValue:
    return {"url": value} if isinstance(value, str) else value


class ImagePart(_Part):
    """A part of a message that is an image."""

    type: Literal["image_url"]
    image_url: Annotated[ImageUrl, BeforeValidator(_as_url, json_schema_input_type=str | ImageUrl)]


Parts = list[Annotated[TextPart | ImagePart, Field(discriminator="type")]]


def _as_parts(value: JsonValue) -> JsonValue:
    return [{"type": "text", "text": value}] if isinstance(value, str) else value


class ChatMessage(_Part):
    """One turn of a conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[Parts, BeforeValidator(_as_parts, json_schema_input_type=str | Parts)]
    name: Ignored = None
    refusal: Ignored = None
    audio: Unused = None
    tool_calls: Unused = None
    function_call: Unused = None

    @property
    def text(self) -> str:
        """All its texts, a line each."""
        return "\n".join(part.text for part in self.content if isinstance(part, TextPart))

    @property
    def images(self) -> list[str]:
        """Its images, as a model's input names them."""
        return [part.image_url.url for part in self.content if isinstance(part, ImagePart)]


class ChatRequest(Sampling):
    """The body of POST /v1/chat/completions."""

    messages: list[ChatMessage] = Field(min_length=1)
    max_completion_tokens: int | None = Field(None, description="The newer name of `max_tokens`.")
    logprobs: bool | None = Field(None, description="Tell how likely each token was.")
    top_logprobs: TopLogprobs | None = Field(None, description="And so many of the likeliest in its place.")
    tools: Unused = None
    tool_choice: TextOnly = None
    parallel_tool_calls: Ignored = None
    functions: Unused = None
    function_call: TextOnly = None
    response_format: ResponseFormat | None = Field(None, description="Text, JSON, or JSON of a schema.")
    modalities: TextOnly = None
    audio: Unused = None
    moderation: Unused = None
    web_search_options: Unused = None
    metadata: Ignored = None
    store: Ignored = None
    prediction: Ignored = None
    prompt_cache_key: Ignored = None
    prompt_cache_options: Ignored = None
    prompt_cache_retention: Ignored = None
    reasoning_effort: Ignored = None
    safety_identifier: Ignored = None
    verbosity: Ignored = None

    @field_validator("top_logprobs")
    @classmethod
    def _beside_logprobs(cls, value: int | None, info: ValidationInfo) -> int | None:
        if value is not None and not info.data.get("logprobs"):
            raise ValueError("needs logprobs to be true")
        return value

    @property
    def alternatives(self) -> int | None:
        return (self.top_logprobs or 0) if self.logprobs else None

    @property
    def wanted(self) -> dict[str, Any] | None:
        return None if self.response_format is None else self.response_format.wanted

    @property
    def most_tokens(self) -> int | None:
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens


class AssistantMessage(BaseModel):
    """What the model says."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: str | None = None


FinishReason = Literal["stop", "length"]


class ChatChoice(BaseModel):
    """One of the answers."""

    index: int
    message: AssistantMessage
    logprobs: ChatLogprobs | None = None
    finish_reason: FinishReason


class ChatCompletion(BaseModel):
    """The answers to a conversation. `id` is `chatcmpl-` and the first one's prediction."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int = Field(description="Seconds since 1970.")
    model: str
    choices: list[ChatChoice]
    usage: Usage


class ChunkChoice(BaseModel):
    """What is new of one of the answers; `delta` has a `role` first, then pieces of `content`."""

    index: int
    delta: dict[str, Any]
    logprobs: ChatLogprobs | None = None
    finish_reason: FinishReason | None = None


class ChatChunk(BaseModel):
    """An event of a streamed answer. The last one has the usage and no choice, where that is asked for."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: Usage | None = None
