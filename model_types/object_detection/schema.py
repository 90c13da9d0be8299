"""What a detection takes, and the objects that it finds."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from model_types.base import OutputFile
from model_types.media.fields import ImageInput


class Input(BaseModel):
    """An image in which to find objects."""

    model_config = ConfigDict(extra="forbid")

    image: ImageInput = Field(
        title="Image",
        description="The image to look at.",
        json_schema_extra={"x-order": 0},
    )
    confidence: float = Field(
        default=0.5,
        ge=0,
        le=1,
        title="Confidence",
        description="Only objects that score more than this are given back.",
        json_schema_extra={"x-order": 1},
    )
    iou: float = Field(
        default=0.7,
        ge=0,
        le=1,
        title="IoU",
        description="Of two boxes of one label that overlap by more than this (intersection over union), "
        "only the better one stays.",
        json_schema_extra={"x-order": 2},
    )
    classes: list[str] | None = Field(
        default=None,
        min_length=1,
        title="Classes",
        description="The labels to look for, of those that the model knows; all of them by default.",
        json_schema_extra={"x-order": 3},
    )
    annotate: bool = Field(
        default=False,
        title="Annotate",
        description="Also give back the image with boxes, labels and scores drawn in.",
        json_schema_extra={"x-order": 4},
    )


class Detection(TypedDict):
    """An object: its label, how surely it is one (0 to 1), and where it is.

    `box` has its left, top, right and bottom edge in pixels of the image, counted from its upper left corner.
    """

    label: str
    score: float
    box: Annotated[list[float], Field(min_length=4, max_length=4)]


class Output(TypedDict):
    """What was found, the surest first; the image's size in pixels, after its EXIF orientation.

    `image` is the image with the objects drawn in, where `annotate` asked for it.
    """

    detections: list[Detection]
    width: int
    height: int
    image: OutputFile | None
