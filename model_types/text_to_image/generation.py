"""One prediction of images on its way through a pass, and the files that it ends in."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass, field
from io import BytesIO
from typing import Literal

from PIL import Image

from model_types.base import OutputFile
from model_types.text_to_image.schema import (
    MAX_SIDE_PIXELS,
    MIN_SIDE_PIXELS,
    SIDE_STEP_PIXELS,
    ImageFormat,
)

Mode = Literal["text", "image", "inpainting"]

_WRITTEN_AS = {"png": ("PNG", "image/png"), "jpg": ("JPEG", "image/jpeg"), "webp": ("WEBP", "image/webp")}


@dataclass(eq=False)
class Generation:
    """What a pipeline needs to draw one prediction's images: one for each of the `seeds`.

    `image` (RGB) and `mask` (L, white is painted anew) have the output's size. `steps` and `guidance_scale`
    are None where the pipeline decides. `progress` goes from 0 to 1 while a pass runs.
    """

    mode: Mode
    prompt: str
    negative_prompt: str | None
    seeds: list[int]
    width: int
    height: int
    steps: int | None = None
    guidance_scale: float | None = None
    strength: float = 1.0
    image: Image.Image | None = None
    mask: Image.Image | None = None
    output_format: ImageFormat = "png"
    output_quality: int = 90
    progress: float = field(default=0.0, init=False)
    cancelled: bool = field(default=False, init=False)

    @property
    def pixels(self) -> int:
        """Of all its images together."""
        return self.width * self.height * len(self.seeds)

    @property
    def key(self) -> Hashable:
        """What all in a pass must have in common: a pipeline takes these once, not for each image."""
        strength = None if self.mode == "text" else self.strength
        has_negative = self.negative_prompt is not None
        return (self.mode, self.width, self.height, self.steps, self.guidance_scale, strength, has_negative)

    def files(self, images: list[Image.Image]) -> list[OutputFile]:
        """The files that hold what was drawn: `out-0.png` and so on."""
        return [self._file(index, image) for index, image in enumerate(images)]

    def _file(self, index: int, image: Image.Image) -> OutputFile:
        if image.size != (self.width, self.height):
            image = image.resize((self.width, self.height))
        if self.image is not None and self.mask is not None:
            # Through the latents and back, what shall stay would come out a little different.
            image = Image.composite(image, self.image, self.mask)
        written_as, media_type = _WRITTEN_AS[self.output_format]
        data = BytesIO()
        image.save(data, written_as, quality=self.output_quality)
        return OutputFile(f"out-{index}.{self.output_format}", media_type, data.getvalue())


def output_size(
    width: int | None, height: int | None, *, native_side: int, shape: tuple[int, int] | None
) -> tuple[int, int]:
    """The width and height to draw in, both multiples of 8.

    What is left out follows from the `shape` of the image to begin from, at the model's own resolution (as
    many pixels as a square of `native_side`) unless the image is smaller.
    """
    if shape is None:
        return width or native_side, height or native_side
    given_width, given_height = shape
    if width is None and height is None:
        scale = min(1.0, native_side / math.sqrt(given_width * given_height))
    elif width is not None:
        scale = width / given_width
    else:
        assert height is not None
        scale = height / given_height
    return width or _side(given_width * scale), height or _side(given_height * scale)


def _side(pixels: float) -> int:
    stepped = round(pixels / SIDE_STEP_PIXELS) * SIDE_STEP_PIXELS
    return min(max(stepped, MIN_SIDE_PIXELS), MAX_SIDE_PIXELS)
