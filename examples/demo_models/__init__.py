"""Small models that ship with the source, so that the first prediction needs no download."""

from pathlib import Path

RECITAL = Path(__file__).parent / "recital"
