"""What a text to image model takes: what to draw, how large, how carefully, and what to begin from."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.config import JsonDict

from model_types.base import OutputFile
from model_types.media import ImageInput, MaskInput

# Latents are an eighth of an image's size in most models.
SIDE_STEP_PIXELS = 8
MIN_SIDE_PIXELS = 64
MAX_SIDE_PIXELS = 2048
# One unit of cost is a step over so many pixels.
COST_PIXELS = 256 * 256
# What an input is taken for that leaves it to the model.
USUAL_SIDE_PIXELS = 1024
USUAL_STEPS = 30

ImageFormat = Literal["png", "jpg", "webp"]
Side = Annotated[int, Field(ge=MIN_SIDE_PIXELS, le=MAX_SIDE_PIXELS, multiple_of=SIDE_STEP_PIXELS)]
Output = list[OutputFile]


def _given(field: str) -> JsonDict:
    """A schema that holds where the file is there and not null."""
    return {"required": [field], "properties": {field: {"type": "string"}}}


class Input(BaseModel):
    """A prompt, perhaps an image to begin from, and how to draw."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"if": _given("mask"), "then": _given("image")}
    )

    prompt: str = Field(
        min_length=1,
        max_length=10_000,
        title="Prompt",
        description="What the image shall show.",
        json_schema_extra={"x-order": 0},
    )
    negative_prompt: str | None = Field(
        default=None,
        max_length=10_000,
        title="Negative prompt",
        description="What it shall not show; for models that take one.",
        json_schema_extra={"x-order": 1},
    )
    image: ImageInput | None = Field(
        default=None,
        title="Image",
        description="An image to begin from.",
        json_schema_extra={"x-order": 2},
    )
    mask: MaskInput | None = Field(
        default=None,
        title="Mask",
        description="Which part of `image` to paint anew: the white one. The black one stays as it is.",
        json_schema_extra={"x-order": 3},
    )
    strength: float = Field(
        default=0.8,
        gt=0,
        le=1,
        title="Strength",
        description="How much of `image` may change, and which share of the steps is made: 1 forgets it.",
        json_schema_extra={"x-order": 4},
    )
    width: Side | None = Field(
        default=None,
        title="Width",
        description="In pixels, a multiple of 8. If left out, the model's own, in the shape of `image`.",
        json_schema_extra={"x-order": 5},
    )
    height: Side | None = Field(
        default=None,
        title="Height",
        description="In pixels, a multiple of 8. If left out, the model's own, in the shape of `image`.",
        json_schema_extra={"x-order": 6},
    )
    num_outputs: int = Field(
        default=1,
        ge=1,
        le=4,
        title="Number of outputs",
        description="How many images to draw. Each has a seed of its own, counted from `seed`.",
        json_schema_extra={"x-order": 7},
    )
    num_inference_steps: int | None = Field(
        default=None,
        ge=1,
        le=500,
        title="Inference steps",
        description="In how many steps to draw: more take longer. If left out, the model's own.",
        json_schema_extra={"x-order": 8},
    )
    guidance_scale: float | None = Field(
        default=None,
        ge=0,
        le=50,
        title="Guidance scale",
        description="How closely to follow the prompt. If left out, the model's own.",
        json_schema_extra={"x-order": 9},
    )
    seed: int | None = Field(
        default=None,
        ge=0,
        lt=2**63,
        title="Seed",
        description="The same seed gives the same image, whatever else runs beside it. Random if left out.",
        json_schema_extra={"x-order": 10},
    )
    output_format: ImageFormat = Field(
        default="png",
        title="Output format",
        description="How the images are written.",
        json_schema_extra={"x-order": 11},
    )
    output_quality: int = Field(
        default=90,
        ge=1,
        le=100,
        title="Output quality",
        description="For jpg and webp: 100 looks best and takes most room.",
        json_schema_extra={"x-order": 12},
    )

    @model_validator(mode="after")
    def _mask_of_an_image(self) -> Self:
        if self.mask is not None and self.image is None:
            raise ValueError("a mask needs the image that it is for")
        return self


def cost(value: BaseModel) -> int:
    """Roughly how much there is to compute for an `Input`: steps over 256 x 256 pixels."""
    assert isinstance(value, Input)
    pixels = (value.width or USUAL_SIDE_PIXELS) * (value.height or USUAL_SIDE_PIXELS)
    steps = value.num_inference_steps or USUAL_STEPS
    return max(1, pixels * steps * value.num_outputs // COST_PIXELS)
