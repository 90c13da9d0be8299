"""What a classification takes, a text or an image, and the labels that it gives."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.config import JsonDict
from typing_extensions import TypedDict

from model_types.media.fields import ImageInput

BYTES_PER_TOKEN = 4
# A usual image model cuts its image into so many patches.
IMAGE_COST = 256
MAX_TEXT_CHARACTERS = 1 << 20
MAX_LABELS = 1000


def _given(field: str) -> JsonDict:
    """A schema that holds where the field is there and not null."""
    return {"required": [field], "properties": {field: {"type": "string"}}}


class Input(BaseModel):
    """A text or an image to be labelled."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"oneOf": [_given("text"), _given("image")]})

    text: str | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_TEXT_CHARACTERS,
        title="Text",
        description="The text to classify, for models of text; what exceeds the model's context is cut off. "
        "Give either this or `image`.",
        json_schema_extra={"x-order": 0},
    )
    image: ImageInput | None = Field(
        default=None,
        title="Image",
        description="The image to classify, for models of images.",
        json_schema_extra={"x-order": 1},
    )
    top_k: int = Field(
        default=5,
        ge=1,
        le=MAX_LABELS,
        title="Top k",
        description="How many of the likeliest labels to give; all where the model has fewer.",
        json_schema_extra={"x-order": 2},
    )

    @model_validator(mode="after")
    def _either(self) -> Self:
        if (self.text is None) == (self.image is None):
            raise ValueError("give exactly one of text and image")
        return self


class Label(TypedDict):
    """A label of the model's own, and how surely it applies, 0 to 1."""

    label: str
    score: float


Output = list[Label]


def cost(value: BaseModel) -> int:
    """Roughly how many tokens an `Input` comes to."""
    assert isinstance(value, Input)
    return IMAGE_COST if value.text is None else 1 + len(value.text.encode()) // BYTES_PER_TOKEN
