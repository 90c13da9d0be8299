"""What an image-to-text prediction takes: images, what to say about them, and how to choose among words."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from model_types.media.fields import ImageInput, InputFile

MAX_IMAGES = 8
# What costs are reckoned with, before a processor has looked: a 24 x 24 grid of patches, as many models have.
TOKENS_PER_IMAGE = 576
BYTES_PER_TOKEN = 4

StopString = Annotated[str, Field(min_length=1, max_length=256)]


class Input(BaseModel):
    """One image or several, and what to say about them."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "oneOf": [
                {"required": ["image"], "properties": {"image": {"type": "string"}}},
                {"required": ["images"], "properties": {"images": {"type": "array"}}},
            ]
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

    @model_validator(mode="after")
    def _either_one_or_several(self) -> Self:
        if (self.image is None) == (self.images is None):
            raise ValueError("give exactly one of image and images")
        return self

    @property
    def all_images(self) -> list[InputFile]:
        """The images, however they were given."""
        return [self.image] if self.image is not None else list(self.images or ())

    @property
    def stop_strings(self) -> tuple[str, ...]:
        """`stop` as a tuple, empty when there is none."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())


def cost(value: BaseModel) -> int:
    """Roughly how many tokens an `Input` will fill: good enough to form batches, without a processor."""
    assert isinstance(value, Input)
    seen = TOKENS_PER_IMAGE * len(value.all_images)
    return seen + len((value.prompt or "").encode()) // BYTES_PER_TOKEN + value.max_new_tokens
