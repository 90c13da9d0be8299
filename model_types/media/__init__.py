"""Files that predictions take in: how an input names them, and what engines get of them."""

from __future__ import annotations

from model_types.media.fields import (
    AudioInput,
    ImageInput,
    InputFile,
    MaskInput,
    Media,
    files_described,
    files_in,
    takes_files,
)
from model_types.media.limits import MediaLimits, UnusableFile

__all__ = [
    "AudioInput",
    "ImageInput",
    "InputFile",
    "MaskInput",
    "Media",
    "MediaLimits",
    "UnusableFile",
    "files_described",
    "files_in",
    "takes_files",
]
