"""What the engines of image-to-text share: a family of checkpoints reads requests and writes texts."""

from __future__ import annotations

import gc
from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import torch
from PIL import Image

from model_types import weights
from model_types.base import Chunks, Failure, ModelType, Tell, VersionSpec
from model_types.batching import release_cached_memory
from model_types.image_to_text.schema import Input
from model_types.media.fields import InputFile
from model_types.text_generation.pieces import Text
from model_types.text_generation.rows import Row

# Looking at an image costs much and shares little: a few rows keep a CPU busy.
CPU_ROWS_PER_PASS = 8
WARM_UP = Input(image=InputFile("warm-up"), prompt="What is this?", max_new_tokens=2)


RowT = TypeVar("RowT", bound=Row)


class Family(ABC, Generic[RowT]):
    """One kind of checkpoint, loaded: how it reads a request, and how it writes the rows of a pass."""

    # Any: a torch module, of which each family knows more than its class tells.
    model: Any

    @abstractmethod
    def row(self, request: Input) -> RowT:
        """What the model reads of a request. `ValueError` where it cannot take it."""

    @abstractmethod
    def write(self, rows: Sequence[RowT]) -> list[Text | Failure]:
        """The texts of rows that share a batch key."""

    def batch_key(self, row: RowT) -> Hashable:
        """Rows with equal keys may share a pass."""
        return None


class ImageToText(ModelType):
    """An engine for those families that its `_load_family` knows."""

    _family: Family[Any]

    @abstractmethod
    def _load_family(self, version: VersionSpec, device: str) -> Family[Any]:
        """Load the version's weights, as the family they belong to. Raises `ModelUnavailable`."""

    @property
    def pass_rows(self) -> int:
        is_cpu = self._family.model.device.type == "cpu"
        return self._option("pass_rows", CPU_ROWS_PER_PASS if is_cpu else self.max_batch)

    def load(self, version: VersionSpec, device: str) -> None:
        self.spec = version
        if (threads := version.options.get("threads")) is not None:
            torch.set_num_threads(int(threads))
        self._family = self._load_family(version, device)

    def prepare(self, value: Any) -> Row:
        """Scale the images and tokenise the prompt. `ValueError` where the model cannot take them."""
        request = Input.model_validate(value)
        longest = self._option("max_new_tokens", request.max_new_tokens)
        if longest < request.max_new_tokens:
            request = request.model_copy(update={"max_new_tokens": longest})
        row: Row = self._family.row(request)
        return row

    def predict(self, batch: Sequence[Row]) -> Sequence[Text | Failure]:
        return self._family.write(batch) if batch else []

    def size(self, prepared: Row) -> int:
        return prepared.size

    def batch_key(self, prepared: Row) -> Hashable:
        return self._family.batch_key(prepared)

    def chunks(self, prepared: Row) -> Chunks:
        return prepared.chunks

    def metrics(self, prepared: Row) -> Mapping[str, float | str]:
        return prepared.metrics

    def cancel(self, prepared: Row) -> None:
        prepared.cancelled = True

    def listen(self, prepared: Row, tell: Tell) -> None:
        prepared.tell = tell

    def warm_up(self) -> None:
        grey = InputFile("warm-up", content=Image.new("RGB", (64, 64), "grey"))
        self.predict([self.prepare(WARM_UP.model_copy(update={"image": grey}))])

    def memory_bytes(self) -> int:
        return weights.memory_bytes(self._family.model)

    def unload(self) -> None:
        del self._family
        gc.collect()
        release_cached_memory()
