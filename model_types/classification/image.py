"""Classifiers of images: ResNet, ViT and their like, on batches of images of one size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from transformers import AutoImageProcessor, AutoModelForImageClassification

from model_types import weights
from model_types.base import VersionSpec
from model_types.classification.rows import Row
from model_types.classification.schema import Input
from model_types.media.fields import InputFile

# Pixels that keep a device busy: more rows gain nothing, and let the others wait.
CPU_PIXELS_PER_PASS = 1 << 18
PIXELS_PER_PASS = 1 << 24


class ImageClassifier:
    """A `…ForImageClassification` and its image processor."""

    pass_rows = 64
    pass_waste = 1.0

    def __init__(self, version: VersionSpec, device: str) -> None:
        """Raises `ModelUnavailable`."""
        # The same pixels whether torchvision is installed or not.
        self._processor: Any = weights.load_processor(AutoImageProcessor, version, backend="pil")
        self.model: Any = weights.load(AutoModelForImageClassification, version, device)
        self.pass_budget = CPU_PIXELS_PER_PASS if device == "cpu" else PIXELS_PER_PASS

    def prepare(self, request: Input) -> Row:
        """The pixels as the model sees them; most processors make all images the same size."""
        if request.image is None:
            raise ValueError("this model labels images: give it `image` instead of `text`")
        pixels = self._processor(images=request.image.content, return_tensors="pt")["pixel_values"][0]
        return Row(
            features=pixels,
            top_k=request.top_k,
            size=pixels.shape[-2] * pixels.shape[-1],
            key=tuple(pixels.shape),
        )

    def logits(self, rows: Sequence[Row]) -> Tensor:
        pixels = torch.stack([row.features for row in rows])
        outputs = self.model(pixel_values=pixels.to(self.model.device, self.model.dtype))
        logits: Tensor = outputs.logits
        return logits

    def blank(self) -> Row:
        image = InputFile("blank", "image", content=Image.new("RGB", (64, 64)))
        return self.prepare(Input(image=image))
