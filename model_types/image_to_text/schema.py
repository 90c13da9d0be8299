"""What an image-to-text prediction takes: images, what to say about them, and how to choose among words."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from model_types.media.fields import ImageInput, InputFile
from model_types.text_generation.fields import JSON_SCHEMA, LOGPROBS, JsonSchema, StopString, TopLogprobs

MAX_IMAGES = 8
# What costs are reckoned with, before a processor has looked: a 24 x 24 grid of patches, as many models have.
TOKENS_PER_IMAGE = 576
BYTES_PER_TOKEN = 4


class TextPart(BaseModel):
    """A part of a turn that is text."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["text"]
    text: str = Field(title="Text", description="What is said.")


class ImagePart(BaseModel):
    """A part of a turn that is an image."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["image"]
    image: ImageInput = Field(title="Image", description="What is shown.")


Part = Annotated[TextPart | ImagePart, Field(discriminator="type")]


class Message(BaseModel):
    """One turn of a conversation."""

    model_config = ConfigDict(extra="forbid")

    role: Literal["system", "user", "assistant"] = Field(title="Role", description="Who speaks.")
    content: list[Part] = Field(title="Content", description="Texts and images, in their order.")

    @property
    def text(self) -> str:
        """All its texts, a line each."""
        return "\n".join(part.text for part in self.content if isinstance(part, TextPart))

    @property
    def images(self) -> list[InputFile]:
        """All its images."""
        return [part.image for part in self.content if isinstance(part, ImagePart)]


class Input(BaseModel):
    """One image or several and what to say about them, or a conversation with images in it."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "oneOf": [
                {"required": ["image"], "properties": {"image": {"type": "string"}}},
                {"required": ["images"], "properties": {"images": {"type": "array"}}},
                {"required": ["messages"], "properties": {"messages": {"type": "array"}}},
            ],
            "not": {
                "required": ["messages", "prompt"],
                "properties": {"messages": {"type": "array"}, "prompt": {"type": "string"}},
            },
        },
    )

    image: ImageInput | None = Field(
        default=None,
        title="Image",
        description="The image to look at. Give either this or `images`.",
        json_schema_extra={"x-order": 0},
    )
    images: list[ImageInput] | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_IMAGES,
        title="Images",
        description="Several images to look at together, for models that take them.",
        json_schema_extra={"x-order": 1},
    )
    prompt: str | None = Field(
        default=None,
        min_length=1,
        title="Prompt",
        description="A question or an instruction; for captioning models, how the caption begins. "
        "Left out, the model describes the image, if it can do so unasked.",
        json_schema_extra={"x-order": 2},
    )
    max_new_tokens: int = Field(
        default=128,
        ge=1,
        le=4096,
        title="Max new tokens",
        description="How many tokens to write at most; fewer where the model's context is full.",
        json_schema_extra={"x-order": 3},
    )
    temperature: float = Field(
        default=0.0,
        ge=0,
        le=2,
        title="Temperature",
        description="How freely to choose: 0 always takes the likeliest token, 1 follows the model's odds.",
        json_schema_extra={"x-order": 4},
    )
    top_p: float = Field(
        default=1.0,
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
    stop: StopString | Annotated[list[StopString], Field(max_length=4)] | None = Field(
        default=None,
        title="Stop",
        description="Up to four strings; the text ends before the first that would appear in it.",
        json_schema_extra={"x-order": 7},
    )
    seed: int | None = Field(
        default=None,
        ge=0,
        lt=2**63,
        title="Seed",
        description="The same seed gives the same text, whatever else runs beside it. Random if left out.",
        json_schema_extra={"x-order": 8},
    )
    messages: list[Message] | None = Field(
        default=None,
        min_length=1,
        title="Messages",
        description="A conversation to answer, oldest turn first, in place of images and a prompt; models "
        "without a chat template take one turn of the user, and what the system says before it.",
        json_schema_extra={"x-order": 9},
    )
    logprobs: TopLogprobs | None = Field(
        default=None,
        title="Logprobs",
        description=f"{LOGPROBS} For models that have a chat template.",
        json_schema_extra={"x-order": 10},
    )
    json_schema: JsonSchema | None = Field(
        default=None,
        title="JSON schema",
        description=f"{JSON_SCHEMA} For models that have a chat template.",
        json_schema_extra={"x-order": 11},
    )

    @model_validator(mode="after")
    def _one_of_three(self) -> Self:
        if [self.image, self.images, self.messages].count(None) != 2:
            raise ValueError("give exactly one of image, images and messages")
        if self.messages is not None and self.prompt is not None:
            raise ValueError("give the prompt in the messages")
        if len(self.all_images) > MAX_IMAGES:
            raise ValueError(f"give at most {MAX_IMAGES} images")
        return self

    @property
    def all_images(self) -> list[InputFile]:
        """The images, however they were given."""
        if self.messages is not None:
            return [image for turn in self.messages for image in turn.images]
        return [self.image] if self.image is not None else list(self.images or ())

    @property
    def stop_strings(self) -> tuple[str, ...]:
        """`stop` as a tuple, empty when there is none."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())


def cost(value: BaseModel) -> int:
    """Roughly how many tokens an `Input` will fill: good enough to form batches, without a processor."""
    assert isinstance(value, Input)
    seen = TOKENS_PER_IMAGE * len(value.all_images)
    texts = [value.prompt or "", *(turn.text for turn in value.messages or ())]
    said = sum(len(text.encode()) for text in texts) // BYTES_PER_TOKEN
    return seen + said + value.max_new_tokens
