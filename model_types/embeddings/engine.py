"""What the engines of embeddings share: every text is a row, and vectors leave as they were asked for."""

from __future__ import annotations

import gc
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from model_types import weights
from model_types.base import VersionSpec
from model_types.batching import release_cached_memory
from model_types.embeddings.schema import Input, Output
from model_types.parts import TokenModelType

Vectors = NDArray[np.float32]
FLOAT32_DIGITS = 9


@dataclass(frozen=True, slots=True)
class Request:
    """The rows of an input's texts, and what form their vectors shall have."""

    rows: Sequence[Any]
    dimensions: int | None
    normalize: bool
    is_list: bool


class Embedder(TokenModelType):
    """A model that gives each text a vector of `dimensions` numbers."""

    dimensions: int
    # Any: libraries' models fit no concrete class.
    _model: Any

    def load(self, version: VersionSpec, device: str) -> None:
        self.spec = version
        if (threads := version.options.get("threads")) is not None:
            torch.set_num_threads(int(threads))
        self._load(version, device)

    @abstractmethod
    def _load(self, version: VersionSpec, device: str) -> None:
        """Set `_model` and `dimensions`."""

    @abstractmethod
    def row(self, text: str, prompt_name: str | None) -> Any:
        """A text as `predict_parts` takes it. Raises `ValueError`."""

    @abstractmethod
    def row_of_ids(self, token_ids: Sequence[int]) -> Any:
        """A text whose tokens are these, no prompt before it, as `row`. Raises `ValueError`."""

    def prepare(self, value: Any) -> Request:
        """The rows of an `Input`, or of a dict that makes one."""
        request = Input.model_validate(value)
        if (request.dimensions or 0) > self.dimensions:
            raise ValueError(
                f"input.dimensions: this model's vectors have {self.dimensions} numbers, fewer than "
                f"{request.dimensions}"
            )
        return Request(
            rows=[self._row(text, request.prompt_name) for text in request.texts],
            dimensions=request.dimensions,
            normalize=request.normalize,
            is_list=request.is_list,
        )

    def _row(self, text: str | list[int], prompt_name: str | None) -> Any:
        if isinstance(text, str):
            return self.row(text, prompt_name)
        if prompt_name is not None:
            raise ValueError("input.prompt_name: a prompt goes before a text, not before token ids")
        return self.row_of_ids(text)

    def parts(self, prepared: Request) -> Sequence[Any]:
        return prepared.rows

    def join(self, prepared: Request, results: Sequence[Vectors]) -> Output:
        vectors = np.stack(results)[:, : prepared.dimensions]
        if prepared.normalize:
            lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
            vectors = vectors / np.maximum(lengths, np.finfo(np.float32).tiny)
        numbers: list[list[float]] = brief(vectors).tolist()
        return numbers if prepared.is_list else numbers[0]

    def warm_up(self) -> None:
        self.predict([self.prepare(Input(text="warm up"))])

    def memory_bytes(self) -> int:
        return weights.memory_bytes(self._model)

    def unload(self) -> None:
        del self._model
        gc.collect()
        release_cached_memory()


def brief(vectors: Vectors) -> NDArray[np.float64]:
    """The same numbers with no more digits than it takes to read them back as the same float32.

    Written as JSON they are a third shorter than the float32 values taken for float64.
    """
    exact = vectors.astype(np.float64)
    magnitudes = np.floor(np.log10(np.abs(exact), where=exact != 0, out=np.zeros_like(exact)))
    scales = 10.0 ** (FLOAT32_DIGITS - 1 - magnitudes)
    rounded: NDArray[np.float64] = np.rint(exact * scales) / scales
    return rounded
