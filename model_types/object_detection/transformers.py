"""The transformers engine: RT-DETR, D-FINE, YOLOS, DETR and their like."""

from __future__ import annotations

import gc
import inspect
from collections.abc import Hashable, Sequence
from typing import Any

import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForObjectDetection

from model_types import weights
from model_types.base import Failure, ModelType, VersionSpec
from model_types.batching import release_cached_memory
from model_types.media.fields import InputFile
from model_types.object_detection.rows import Row, wanted
from model_types.object_detection.schema import Input, Output
from model_types.torchvision_ops import nms

# Pixels that keep a device busy: more rows gain nothing, and let the others wait.
CPU_PIXELS_PER_PASS = 1 << 18
PIXELS_PER_PASS = 1 << 24


class Transformers(ModelType):
    """Any model that `AutoModelForObjectDetection` knows, from its safetensors."""

    # Any: what the Auto classes return has no common type.
    _model: Any
    _processor: Any

    def load(self, version: VersionSpec, device: str) -> None:
        self.spec = version
        if (threads := version.options.get("threads")) is not None:
            torch.set_num_threads(int(threads))
        # The same pixels whether torchvision is installed or not.
        self._processor = weights.load_processor(AutoImageProcessor, version, backend="pil")
        self._model = weights.load(AutoModelForObjectDetection, version, device)
        self._accepted = set(inspect.signature(self._model.forward).parameters)

    @property
    def pass_budget(self) -> int:
        is_cpu = self._model.device.type == "cpu"
        return self._option("pass_budget", CPU_PIXELS_PER_PASS if is_cpu else PIXELS_PER_PASS)

    def prepare(self, value: Any) -> Row:
        """Pixels as the model sees them. `ValueError` for a class that the model does not know."""
        request = Input.model_validate(value)
        labels = wanted(request, self._model.config.id2label)
        made = self._processor(images=request.image.content, return_tensors="pt")
        features = {name: made[name][0] for name in made if name in self._accepted}
        height, width = features["pixel_values"].shape[-2:]
        # Some processors keep the image's proportions: only images of one size go well together.
        return Row(features, height * width, (height, width), request, labels)

    def size(self, prepared: Row) -> int:
        return prepared.pixels

    def batch_key(self, prepared: Row) -> Hashable:
        return prepared.key

    @torch.inference_mode()
    def predict(self, batch: Sequence[Row]) -> Sequence[Output | Failure]:
        if not batch:
            return []
        outputs = self._model(**self._stacked(batch))
        results = self._processor.post_process_object_detection(
            outputs,
            threshold=min(row.request.confidence for row in batch),
            target_sizes=[(row.image.height, row.image.width) for row in batch],
        )
        return [self._output(row, result) for row, result in zip(batch, results, strict=True)]

    def warm_up(self) -> None:
        image = InputFile("blank", "image", content=Image.new("RGB", (64, 64)))
        self.predict([self.prepare(Input(image=image))])

    def memory_bytes(self) -> int:
        return weights.memory_bytes(self._model)

    def unload(self) -> None:
        del self._model, self._processor
        gc.collect()
        release_cached_memory()

    def _output(self, row: Row, result: dict[str, torch.Tensor]) -> Output:
        sure = result["scores"] > row.request.confidence
        boxes, scores, labels = (result[name][sure].float().cpu() for name in ("boxes", "scores", "labels"))
        # These models should find each object once; now and then they find one twice.
        kept = nms(_apart(boxes, labels), scores, row.request.iou)
        names = self._model.config.id2label
        found = zip(
            [names[int(label)] for label in labels[kept].tolist()],
            scores[kept].tolist(),
            boxes[kept].tolist(),
            strict=True,
        )
        return row.output(found)

    def _stacked(self, batch: Sequence[Row]) -> dict[str, torch.Tensor]:
        """The rows' features as one batch on the model's device, in its precision."""
        device, dtype = self._model.device, self._model.dtype
        stacked = {name: torch.stack([row.features[name] for row in batch]) for name in batch[0].features}
        return {
            name: tensor.to(device, dtype if tensor.is_floating_point() else None)
            for name, tensor in stacked.items()
        }


def _apart(boxes: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The boxes, [n, 4], moved so that none overlaps one of another label."""
    return boxes + labels[:, None] * (boxes.max() - boxes.min() + 1) if len(boxes) else boxes
