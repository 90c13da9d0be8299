"""Draws what was found into the image."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from zlib import crc32

from PIL import Image, ImageColor, ImageDraw, ImageFont

from model_types.base import OutputFile
from model_types.object_detection.schema import Detection

QUALITY = 90
# Of the image's longer side.
LINE_SHARE = 1 / 250
TEXT_SHARE = 1 / 45
SMALLEST_TEXT_PIXELS = 10
LIGHT = 140


def annotated(image: Image.Image, detections: Sequence[Detection]) -> OutputFile:
    """A JPEG of the image with boxes, labels and scores; each label has a colour of its own."""
    drawn = image.copy()
    pen = ImageDraw.Draw(drawn)
    side = max(image.size)
    line = max(1, round(side * LINE_SHARE))
    font = ImageFont.load_default(max(SMALLEST_TEXT_PIXELS, side * TEXT_SHARE))
    for found in reversed(detections):  # the surest on top
        _draw(pen, found, line, font)
    stream = BytesIO()
    drawn.save(stream, "JPEG", quality=QUALITY, subsampling=0)
    return OutputFile("annotated.jpg", "image/jpeg", stream.getvalue())


def _draw(
    pen: ImageDraw.ImageDraw,
    found: Detection,
    line: int,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> None:
    left, top, right, bottom = found["box"]
    colour = colour_of(found["label"])
    pen.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), outline=colour, width=line)
    caption = f"{found['label']} {found['score']:.2f}"
    _, _, width, height = pen.textbbox((0, 0), caption, font)
    above = top - height - 2 * line
    corner = (left, above if above >= 0 else top)
    pen.rectangle((*corner, corner[0] + width + 2 * line, corner[1] + height + 2 * line), fill=colour)
    ink = "black" if _lightness(colour) > LIGHT else "white"
    pen.text((corner[0] + line, corner[1] + line), caption, ink, font)


def _lightness(colour: str) -> float:
    """How light a colour is to the eye, 0 to 255 (ITU-R BT.601)."""
    red, green, blue = ImageColor.getrgb(colour)[:3]
    return 0.299 * red + 0.587 * green + 0.114 * blue


def colour_of(label: str) -> str:
    """The same strong colour for the same label, always."""
    return f"hsl({crc32(label.encode()) % 360}, 90%, 50%)"
