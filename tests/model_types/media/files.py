"""Files to be taken in: images and sounds, and what is left of them when they break."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import soundfile
from PIL import Image

# Red above, blue below: turned or mirrored, it is another picture.
RED, BLUE = (255, 0, 0), (0, 0, 255)
_ORIENTATION = 0x0112


def flag(width: int = 40, height: int = 20) -> Image.Image:
    """A flag, its upper half red and its lower half blue."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(BLUE, (0, height // 2, width, height))
    return image


def encoded(image: Image.Image, image_format: str = "PNG", **options: Any) -> bytes:
    """An image as a file of this format."""
    file = BytesIO()
    image.save(file, image_format, **options)
    return file.getvalue()


def held_sideways(image: Image.Image) -> bytes:
    """A JPEG whose pixels lie on their side; EXIF tells how it was held."""
    exif = Image.Exif()
    exif[_ORIENTATION] = 6  # to be turned clockwise by 90 degrees
    return encoded(image.transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif, quality=95)


def tone(
    seconds: float = 1.0, *, hertz: float = 440.0, rate: int = 44_100, channels: int = 2
) -> np.ndarray[Any, np.dtype[np.float32]]:
    """A tone on the first channel, silence on the others."""
    samples = np.zeros((int(seconds * rate), channels), np.float32)
    samples[:, 0] = 0.5 * np.sin(2 * np.pi * hertz * np.arange(len(samples)) / rate)
    return samples


def recorded(samples: np.ndarray[Any, Any], rate: int = 44_100, audio_format: str = "WAV") -> bytes:
    """Samples as a file of this format."""
    file = BytesIO()
    soundfile.write(file, samples, rate, format=audio_format)
    return file.getvalue()
