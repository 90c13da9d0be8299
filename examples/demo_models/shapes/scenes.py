"""Draws scenes of circles and squares of which every box is known."""

from __future__ import annotations

import random
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFilter

LABELS = ("circle", "square")
SIDES = (128, 192)
SIZES = (20, 72)
MAX_SHAPES = 4
# How far a shape's colour is from what lies beneath it, as the sum over red, green and blue.
CONTRAST = 150
# Shapes are drawn this much larger and shrunk, so that their edges are smooth.
SMOOTHING = 4

Box = tuple[int, int, int, int]
Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Shape:
    """A circle or a square and its box: left, top, right and bottom edge in pixels."""

    label: str
    box: Box
    colour: Colour


@dataclass(frozen=True, slots=True)
class Scene:
    """An image in RGB and what is to be found in it."""

    image: Image.Image
    shapes: list[Shape]


def scene(seed: int) -> Scene:
    """A scene of up to four shapes that do not touch; the same for the same seed."""
    chance = random.Random(seed)
    image = _background(chance, chance.randint(*SIDES), chance.randint(*SIDES))
    shapes: list[Shape] = []
    for _ in range(chance.randint(1, MAX_SHAPES)):
        box = _free_box(chance, image.size, [shape.box for shape in shapes])
        if box is not None:
            shapes.append(Shape(chance.choice(LABELS), box, _colour_unlike(chance, _mean(image.crop(box)))))
    return Scene(draw(image, shapes), shapes)


def draw(image: Image.Image, shapes: list[Shape]) -> Image.Image:
    """The image with these shapes on it."""
    large = Image.new("L", (image.width * SMOOTHING, image.height * SMOOTHING))
    for shape in shapes:
        stencil = large.copy()
        left, top, right, bottom = (edge * SMOOTHING for edge in shape.box)
        pen = ImageDraw.Draw(stencil)
        outline = pen.ellipse if shape.label == "circle" else pen.rectangle
        outline((left, top, right - 1, bottom - 1), fill=255)
        image.paste(shape.colour, mask=stencil.resize(image.size, Image.Resampling.BOX))
    return image


def _background(chance: random.Random, width: int, height: int) -> Image.Image:
    """One colour running into another, with grain; or a blurred patchwork of colours."""
    if chance.random() < 0.5:
        ramp = Image.linear_gradient("L").rotate(chance.choice((0, 90, 180, 270)))
        one, other = (Image.new("RGB", (width, height), _colour(chance)) for _ in range(2))
        ground = Image.composite(one, other, ramp.resize((width, height)))
    else:
        patches = _noise(chance, chance.randint(2, 6), chance.randint(2, 6))
        ground = patches.resize((width, height), Image.Resampling.BICUBIC)
    grain = _noise(chance, width, height).filter(ImageFilter.GaussianBlur(chance.uniform(0, 1.5)))
    return Image.blend(ground, grain, chance.uniform(0, 0.25))


def _noise(chance: random.Random, width: int, height: int) -> Image.Image:
    return Image.frombytes("RGB", (width, height), chance.randbytes(width * height * 3))


def _free_box(chance: random.Random, size: tuple[int, int], taken: list[Box]) -> Box | None:
    """A square box, 2 pixels clear of the others, or None where 20 tries have found no room."""
    for _ in range(20):
        side = chance.randint(*SIZES)
        left, top = chance.randint(0, size[0] - side), chance.randint(0, size[1] - side)
        box = (left, top, left + side, top + side)
        if not any(_touch(box, other) for other in taken):
            return box
    return None


def _touch(one: Box, other: Box) -> bool:
    return one[0] - 2 < other[2] and other[0] - 2 < one[2] and one[1] - 2 < other[3] and other[1] - 2 < one[3]


def _mean(image: Image.Image) -> Colour:
    red, green, blue = image.resize((1, 1), Image.Resampling.BOX).tobytes()
    return red, green, blue


def _colour(chance: random.Random) -> Colour:
    return chance.randrange(256), chance.randrange(256), chance.randrange(256)


def _colour_unlike(chance: random.Random, other: Colour) -> Colour:
    while True:
        colour = _colour(chance)
        if sum(abs(one - two) for one, two in zip(colour, other, strict=True)) >= CONTRAST:
            return colour
