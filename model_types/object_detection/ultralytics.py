"""The ultralytics engine: YOLO in all its versions, from `.pt` files, which are pickles.

The library is under the AGPL-3.0 and not installed with Augury: `pip install 'augury[ultralytics]'`.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from model_types import weights
from model_types.base import Failure, ModelType, ModelUnavailable, VersionSpec
from model_types.batching import release_cached_memory
from model_types.media.fields import InputFile
from model_types.object_detection.rows import Row, wanted
from model_types.object_detection.schema import Input, Output

PICKLE = "unpickling"
# Pixels that keep a device busy: more rows gain nothing, and let the others wait.
CPU_PIXELS_PER_PASS = 1 << 18
PIXELS_PER_PASS = 1 << 25


class Ultralytics(ModelType):
    """A detector of YOLO's family. `options.image_size` is the longer side that it sees, in pixels."""

    # Any: the library is optional, and has no types.
    _model: Any
    _device: str

    def load(self, version: VersionSpec, device: str) -> None:
        self.spec, self._device = version, device
        file = weights_file(version)
        library = imported()
        if (threads := version.options.get("threads")) is not None:
            torch.set_num_threads(int(threads))
        with weights.reasons(version):
            self._model = library.YOLO(str(file))
        if self._model.task != "detect":
            raise ModelUnavailable(f"{file.name} is a model for the task {self._model.task!r}, not 'detect'")
        side = int(version.options.get("image_size") or self._model.overrides.get("imgsz", 640))
        stride = int(self._model.model.stride.max())
        self._fitted = library.data.augment.LetterBox((side, side), auto=True, stride=stride)
        self._as_it_was = library.utils.ops.scale_boxes

    @property
    def pass_budget(self) -> int:
        return self._option("pass_budget", CPU_PIXELS_PER_PASS if self._device == "cpu" else PIXELS_PER_PASS)

    def prepare(self, value: Any) -> Row:
        """Scale and pad the image. `ValueError` for a class that the model does not know."""
        request = Input.model_validate(value)
        labels = wanted(request, self._model.names)
        # The library wants blue, green, red.
        pixels = self._fitted(image=np.ascontiguousarray(np.asarray(request.image.content)[..., ::-1]))
        height, width = pixels.shape[:2]
        return Row(pixels, height * width, (height, width, request.iou), request, labels)

    def size(self, prepared: Row) -> int:
        return prepared.pixels

    def batch_key(self, prepared: Row) -> Hashable:
        return prepared.key

    def predict(self, batch: Sequence[Row]) -> Sequence[Output | Failure]:
        if not batch:
            return []
        results = self._model.predict(
            [row.features for row in batch],
            imgsz=list(batch[0].features.shape[:2]),
            conf=min(row.request.confidence for row in batch),
            iou=batch[0].request.iou,
            device=self._device,
            half=self._device != "cpu" and self.spec.options.get("dtype") == "float16",
            save=False,
            verbose=False,
        )
        return [self._output(row, result.boxes) for row, result in zip(batch, results, strict=True)]

    def warm_up(self) -> None:
        image = InputFile("blank", "image", content=Image.new("RGB", (64, 64)))
        self.predict([self.prepare(Input(image=image))])

    def memory_bytes(self) -> int:
        return weights.memory_bytes(self._model.model)

    def unload(self) -> None:
        del self._model
        gc.collect()
        release_cached_memory()

    def _output(self, row: Row, boxes: Any) -> Output:
        corners = self._as_it_was(row.features.shape, boxes.xyxy.clone(), row.image.size[::-1])
        labels = [self._model.names[label] for label in boxes.cls.int().tolist()]
        return row.output(zip(labels, boxes.conf.tolist(), corners.tolist(), strict=True))


def weights_file(version: VersionSpec) -> Path:
    """The `.pt` file of a version, if an administrator trusts it. Raises `ModelUnavailable`.

    The version's path is a file, a folder with one such file, or a file in a repository of the Hugging Face
    hub: `owner/name/file.pt`. The library itself is never let to fetch anything.
    """
    place = Path(version.path).expanduser()
    if place.is_dir():
        found = sorted(place.glob("*.pt"))
        if len(found) != 1:
            raise ModelUnavailable(f"{place} has {len(found)} .pt files: name the one to load")
        place = found[0]
    if place.suffix != ".pt":
        raise ModelUnavailable(f"{version.path} is no .pt file, as the engine 'ultralytics' needs")
    version.trust.require(str(place), PICKLE, revision=version.revision)
    if place.is_file():
        return place.resolve()
    owner, name, file = (*version.path.split("/", 2), "", "")[:3]
    if place.is_absolute() or version.path.startswith((".", "~")) or not file:
        raise ModelUnavailable(f"{version.path} is not a file on this machine")
    return _from_hub(version, f"{owner}/{name}", file)


def _from_hub(version: VersionSpec, repository: str, file: str) -> Path:
    from huggingface_hub import hf_hub_download

    with weights.reasons(version):
        return Path(
            hf_hub_download(
                repository,
                file,
                revision=version.revision,
                cache_dir=version.options.get("cache_dir") or os.environ.get("MODEL_CACHE_DIR"),
                local_files_only=not version.may_download,
            )
        )


def imported() -> Any:
    """The library, told to fetch, install and report nothing: it reads its environment when imported."""
    os.environ.update(YOLO_OFFLINE="true", YOLO_AUTOINSTALL="false", YOLO_VERBOSE="false")
    if (cache := os.environ.get("MODEL_CACHE_DIR")) is not None:
        os.environ.setdefault("YOLO_CONFIG_DIR", cache)
    open_image = Image.open
    try:
        import ultralytics
        import ultralytics.data.augment
        import ultralytics.utils.ops
    except ImportError as error:
        raise ModelUnavailable(
            f"the engine 'ultralytics' needs a library that is not installed (AGPL-3.0): {error}; see "
            "docs/model-types.md"
        ) from error
    finally:
        # It puts its own in Pillow's place, which meets what is no image with the search for another library.
        Image.open = open_image
    return ultralytics
