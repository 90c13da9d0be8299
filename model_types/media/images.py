"""Images out of bytes: told by their content, bounded before they are decoded, upright."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO

from PIL import Image, ImageOps, UnidentifiedImageError

from model_types.media.fields import MediaKind
from model_types.media.limits import MediaLimits, UnusableFile, check_size

# Pillow's names. It knows many more, some of which run interpreters of their own.
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
# A check wants no pixels: a JPEG is then decoded at an eighth of its size, in a fraction of the time.
_SMALLEST_DRAFT = (1, 1)
# Cameras write several views into one JPEG; Pillow has a name of its own for it.
_MEDIA_TYPES = {"MPO": "image/jpeg"}


def decode(data: bytes, limits: MediaLimits, kind: MediaKind = "image") -> Image.Image:
    """The image, its first frame if it has several: in RGB, a mask in L; EXIF orientation applied.

    What is transparent is put on white. Raises `UnusableFile`.
    """
    with _opened(data, limits) as image:
        upright = ImageOps.exif_transpose(image)
        return _coloured(upright) if kind == "image" else _in_8_bits(upright).convert("L")


def check(data: bytes, limits: MediaLimits) -> str:
    """The media type of an image that `decode` would take, at a part of its cost. Raises `UnusableFile`."""
    with _opened(data, limits) as image:
        media_type = _MEDIA_TYPES.get(str(image.format)) or Image.MIME[str(image.format)]
        if image.format == "PNG":
            # Checksums tell what is broken or missing, without decoding.
            image.verify()
        else:
            image.draft(None, _SMALLEST_DRAFT)
            image.load()
        return media_type


@contextmanager
def _opened(data: bytes, limits: MediaLimits) -> Iterator[Image.Image]:
    """An image of which only the head has been read; what Pillow finds wrong with it becomes a sentence."""
    check_size(len(data), limits)
    try:
        with Image.open(BytesIO(data), formats=FORMATS) as image:
            _check_pixels(image, limits)
            yield image
    except UnusableFile:
        raise
    except UnidentifiedImageError:
        raise UnusableFile(f"is not an image in one of the formats {', '.join(FORMATS)}") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UnusableFile(_too_many_pixels(limits)) from None
    except Exception as error:
        # Pillow's decoders meet broken data with errors of many kinds.
        raise UnusableFile(f"is a broken or incomplete image ({_reason(error)})") from error


def _check_pixels(image: Image.Image, limits: MediaLimits) -> None:
    width, height = image.size
    if width * height > limits.pixels:
        raise UnusableFile(f"has {width} by {height} pixels: {_too_many_pixels(limits)}")


def _too_many_pixels(limits: MediaLimits) -> str:
    return f"must not have more than {limits.pixels / 1e6:g} million pixels"


def _reason(error: Exception) -> str:
    return str(error).partition("\n")[0][:100] or type(error).__name__


def _coloured(image: Image.Image) -> Image.Image:
    image = _in_8_bits(image)
    if not image.has_transparency_data:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    ground = Image.new("RGBA", layer.size, "white")
    return Image.alpha_composite(ground, layer).convert("RGB")


def _in_8_bits(image: Image.Image) -> Image.Image:
    """Scaled where a channel has 16 bits, which Pillow would clip."""
    if image.mode.startswith("I;16"):
        return image.point(lambda value: value / 256).convert("L")
    if image.mode in ("I", "F"):
        raise UnusableFile("has more than 16 bits in a channel")
    return image
