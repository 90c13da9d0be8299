"""The transformers engine: BLIP, and whatever model of images and text comes with a chat template."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from transformers import AutoConfig

from model_types import weights
from model_types.base import VersionSpec
from model_types.image_to_text.blip import Answers, Captions
from model_types.image_to_text.chat import Chat
from model_types.image_to_text.engine import Family, ImageToText

FAMILIES: Mapping[str, Callable[[VersionSpec, str], Family[Any]]] = {
    "BlipForConditionalGeneration": Captions,
    "BlipForQuestionAnswering": Answers,
}


class Transformers(ImageToText):
    """Any image-to-text model that transformers knows, from its safetensors."""

    def _load_family(self, version: VersionSpec, device: str) -> Family[Any]:
        config = weights.load_processor(AutoConfig, version)
        (architecture, *_) = config.architectures or [""]
        return FAMILIES.get(architecture, Chat)(version, device)
