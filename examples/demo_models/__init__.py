"""Small models that ship with the source, so that the first prediction needs no download."""

from pathlib import Path

DIGITS = Path(__file__).parent / "digits"
RECITAL = Path(__file__).parent / "recital"
SHAPES = Path(__file__).parent / "shapes"
