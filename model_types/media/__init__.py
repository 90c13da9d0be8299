"""Files that predictions take in: how an input names them, and what engines get of them."""

from __future__ import annotations

from model_types.media.fields import AudioInput, ImageInput, InputFile, MaskInput, Media, files_in

__all__ = ["AudioInput", "ImageInput", "InputFile", "MaskInput", "Media", "files_in"]
