"""Images on the wire."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field

from api.compat.openai.schemas.fields import (
    SEEDS,
    AtMostOne,
    Ignored,
    Off,
    OpenAIRequest,
    Unused,
)

MAX_IMAGES = 10
_SIZE = re.compile(r"([1-9]\d{1,4})x([1-9]\d{1,4})", re.ASCII)


def _size(value: str) -> str:
    if value != "auto" and _SIZE.fullmatch(value) is None:
        raise ValueError("must be auto, or a width and a height in pixels such as 1024x1024")
    return value


def _opaque(value: Any) -> Any:
    if value not in (None, "auto", "opaque"):
        raise ValueError("must be opaque or auto: no image is transparent here")
    return value


class ImageRequest(OpenAIRequest):
    """The body of POST /v1/images/generations. What is left out is as the model has it by default."""

    prompt: str
    n: int | None = Field(None, ge=1, le=MAX_IMAGES, description="How many images: a prediction each.")
    size: Annotated[str, AfterValidator(_size)] | None = Field(None, description="1024x1024, or auto.")
    response_format: Literal["url", "b64_json"] | None = Field(None, description="`url` if left out.")
    output_format: Literal["png", "jpeg", "webp"] | None = Field(None, description="`png` if left out.")
    output_compression: int | None = Field(None, description="For jpeg and webp: 100 looks best.")
    background: Annotated[Any, AfterValidator(_opaque)] = Field(None, description="opaque or auto.")
    negative_prompt: str | None = Field(None, description="Beyond OpenAI's: what not to show.")
    num_inference_steps: int | None = Field(None, description="Beyond OpenAI's: more take longer.")
    guidance_scale: float | None = Field(None, description="Beyond OpenAI's: how closely to follow.")
    seed: int | None = Field(None, description="Beyond OpenAI's: image i has seed + i.")
    stream: Off = None
    partial_images: Off = None
    frame_count: AtMostOne = None
    svg: Unused = None
    complexity: Ignored = None
    frame_duration_ms: Ignored = None
    moderation: Ignored = None
    quality: Ignored = None
    safety_identifier: Ignored = None
    style: Ignored = None

    def input(self, number: int) -> dict[str, Any]:
        """The input that stands for the image of this number, from 0."""
        size = _SIZE.fullmatch(self.size or "")
        values = {
            "prompt": self.prompt,
            "negative_prompt": self.negative_prompt,
            "width": int(size[1]) if size else None,
            "height": int(size[2]) if size else None,
            "num_inference_steps": self.num_inference_steps,
            "guidance_scale": self.guidance_scale,
            "seed": None if self.seed is None else (self.seed + number) % SEEDS,
            "output_format": "jpg" if self.output_format == "jpeg" else self.output_format,
            "output_quality": self.output_compression,
        }
        return {name: value for name, value in values.items() if value is not None}


class Image(BaseModel):
    """An image: where it is, or its bytes in base64."""

    url: str | None = None
    b64_json: str | None = None


class ImageList(BaseModel):
    """Images, in the order of their seeds."""

    created: int = Field(description="Seconds since 1970.")
    data: list[Image]
