"""Images: every format that is taken, upright and in RGB; and what is refused."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from model_types.media import images
from model_types.media.limits import MediaLimits, UnusableFile
from tests.model_types.media.files import BLUE, RED, encoded, flag, held_sideways

LIMITS = MediaLimits()
MEDIA_TYPES = {
    "PNG": "image/png",
    "JPEG": "image/jpeg",
    "WEBP": "image/webp",
    "GIF": "image/gif",
    "BMP": "image/bmp",
    "TIFF": "image/tiff",
    "MPO": "image/jpeg",
}


def is_flag(image: Image.Image) -> bool:
    """Whether the colours are where they belong, give or take what a lossy format makes of them."""
    above = np.asarray(image.getpixel((image.width // 2, image.height // 4)), int)
    below = np.asarray(image.getpixel((image.width // 2, image.height * 3 // 4)), int)
    return bool((abs(above - RED) < 30).all() and (abs(below - BLUE) < 30).all())


@pytest.mark.parametrize("image_format", MEDIA_TYPES)
def test_every_format_is_read_by_its_content(image_format: str) -> None:
    data = encoded(flag(), image_format)
    image = images.decode(data, LIMITS)
    assert (image.mode, image.size) == ("RGB", (40, 20))
    assert is_flag(image)
    assert images.check(data, LIMITS) == MEDIA_TYPES[image_format]


def test_a_picture_that_was_held_sideways_stands_upright() -> None:
    image = images.decode(held_sideways(flag()), LIMITS)
    assert image.size == (40, 20)
    assert is_flag(image)


def test_of_an_animation_the_first_frame_counts() -> None:
    film = encoded(flag(), "GIF", save_all=True, append_images=[Image.new("RGB", (40, 20), "green")])
    assert is_flag(images.decode(film, LIMITS))


def test_what_is_transparent_lies_on_white() -> None:
    clear = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert images.decode(encoded(clear), LIMITS).getpixel((0, 0)) == (255, 255, 255)
    assert images.decode(encoded(clear.convert("LA")), LIMITS).getpixel((0, 0)) == (255, 255, 255)


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    ramp = Image.fromarray(np.linspace(0, 65535, 16, dtype=np.uint16).reshape(4, 4))
    image = images.decode(encoded(ramp), LIMITS)
    assert image.mode == "RGB"
    assert np.asarray(image)[..., 0].ravel().tolist() == [17 * level for level in range(16)]


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr", "LAB"])
def test_other_colour_models_become_rgb(mode: str) -> None:
    image = Image.new("RGB", (4, 4), "white").convert("RGB")
    if mode != "LAB":
        image = image.convert(mode)
    decoded = images.decode(encoded(image, "TIFF"), LIMITS)
    assert (decoded.mode, decoded.getpixel((1, 1))) == ("RGB", (255, 255, 255))


def test_a_mask_is_one_channel() -> None:
    mask = images.decode(encoded(Image.new("RGB", (4, 4), "white")), LIMITS, "mask")
    assert (mask.mode, mask.getpixel((0, 0))) == ("L", 255)


@pytest.mark.parametrize("image_format", MEDIA_TYPES)
def test_a_file_that_breaks_off_is_refused_by_the_check_and_by_the_decoder(image_format: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    whole = encoded(Image.fromarray(noise), "JPEG" if image_format == "MPO" else image_format)
    for refuse in (images.check, images.decode):
        with pytest.raises(UnusableFile, match="broken or incomplete"):
            refuse(whole[: len(whole) * 2 // 3], LIMITS)


def test_flipped_bits_are_refused() -> None:
    data = bytearray(encoded(flag(400, 400)))
    data[len(data) // 2] ^= 0xFF
    for refuse in (images.check, images.decode):
        with pytest.raises(UnusableFile, match="broken or incomplete"):
            refuse(bytes(data), LIMITS)


@pytest.mark.parametrize(
    "data",
    [
        b"hello",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%PDF-1.7\n",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n",
        b"\x89PNG\r\n\x1a\n",
    ],
)
def test_what_is_no_image_is_told_which_formats_there_are(data: bytes) -> None:
    with pytest.raises(UnusableFile, match=r"PNG, JPEG, WEBP, GIF, BMP, TIFF|broken"):
        images.check(data, LIMITS)


def png_that_claims(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose head promises any size."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [1001, 10_000, 100_000])
def test_a_bomb_is_refused_before_it_is_decoded(side: int) -> None:
    limits = MediaLimits(pixels=1_000_000)
    for refuse in (images.check, images.decode):
        with pytest.raises(UnusableFile, match="must not have more than 1 million pixels"):
            refuse(png_that_claims(side, side), limits)


def test_a_file_with_too_many_bytes_is_not_looked_into() -> None:
    with pytest.raises(UnusableFile, match="is larger than 1 KiB"):
        images.decode(bytes(1025), MediaLimits(bytes=1024))
