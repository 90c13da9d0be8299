"""What is to be seen in the images that models give back."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model_types.base import OutputFile


def pixels(file: OutputFile) -> NDArray[np.int16]:
    """Height x width x 3, 0 to 255, signed so that they can be subtracted."""
    with Image.open(BytesIO(file.data)) as image:
        return np.asarray(image.convert("RGB"), dtype=np.int16)


def same_images(first: Sequence[OutputFile], second: Sequence[OutputFile]) -> bool:
    """Whether they are the same to the eye: no channel of any pixel is off by more than one of 255 steps."""
    return [file.name for file in first] == [file.name for file in second] and all(
        abs(pixels(one) - pixels(other)).max() <= 1 for one, other in zip(first, second, strict=True)
    )


def data_uri(image: Image.Image) -> str:
    """The image as a PNG in a `data:` URI."""
    file = BytesIO()
    image.save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
