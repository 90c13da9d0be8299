"""The colours that an image is made of: a model without weights, in one file."""

from __future__ import annotations

from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from model_types.media import ImageInput

SIDE_PIXELS = 200


class Input(BaseModel):
    """An image, and how many colours to find in it."""

    model_config = ConfigDict(extra="forbid")

    image: ImageInput = Field(
        title="Image", description="The image to look at.", json_schema_extra={"x-order": 0}
    )
    colours: int = Field(
        5, ge=1, le=16, title="Colours", description="How many to find.", json_schema_extra={"x-order": 1}
    )


class Colour(BaseModel):
    """A colour such as "#ff8800", and the share of the image that has it or one near it, 0 to 1."""

    hex: str
    share: float


class Palette:
    """Finds an image's colours by median cut, the most frequent first."""

    def predict(self, input: Input) -> list[Colour]:
        image: Image.Image = input.image.content.copy()
        image.thumbnail((SIDE_PIXELS, SIDE_PIXELS))
        reduced = image.quantize(input.colours, method=Image.Quantize.MEDIANCUT)
        counts = sorted(reduced.getcolors() or [], reverse=True)
        rgb = reduced.getpalette() or []
        pixels = image.width * image.height
        return [
            Colour(hex="#" + bytes(rgb[3 * index : 3 * index + 3]).hex(), share=round(count / pixels, 4))
            for count, index in counts
            if isinstance(index, int)
        ]
