"""The transformers engine: the checkpoint's architecture says whether it labels texts or images."""

from __future__ import annotations

import gc
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig

from model_types import weights
from model_types.base import Failure, ModelType, ModelUnavailable, VersionSpec
from model_types.batching import release_cached_memory
from model_types.classification.image import ImageClassifier
from model_types.classification.rows import Classifier, Row
from model_types.classification.schema import Input, Label, Output
from model_types.classification.text import TextClassifier

KINDS: Mapping[str, Callable[[VersionSpec, str], Classifier]] = {
    "ForSequenceClassification": TextClassifier,
    "ForImageClassification": ImageClassifier,
}


class Transformers(ModelType):
    """Any `…ForSequenceClassification` or `…ForImageClassification` of transformers, from its safetensors."""

    _classifier: Classifier

    def load(self, version: VersionSpec, device: str) -> None:
        self.spec = version
        if (threads := version.options.get("threads")) is not None:
            torch.set_num_threads(int(threads))
        config = weights.load_processor(AutoConfig, version)
        self._classifier = _kind(version, config)(version, device)

    @property
    def pass_rows(self) -> int:
        return self._option("pass_rows", self._classifier.pass_rows)

    @property
    def pass_budget(self) -> int:
        return self._option("pass_budget", self._classifier.pass_budget)

    @property
    def pass_waste(self) -> float:
        return self._classifier.pass_waste

    def prepare(self, value: Any) -> Row:
        """Tokens or pixels of an `Input`, or of a dict that makes one."""
        return self._classifier.prepare(Input.model_validate(value))

    def size(self, prepared: Row) -> int:
        return prepared.size

    def batch_key(self, prepared: Row) -> Hashable:
        return prepared.key

    def metrics(self, prepared: Row) -> Mapping[str, float | str]:
        return {} if prepared.tokens is None else {"input_token_count": prepared.tokens}

    @torch.inference_mode()
    def predict(self, batch: Sequence[Row]) -> Sequence[Output | Failure]:
        if not batch:
            return []
        config = self._classifier.model.config
        scores = _scores(self._classifier.logits(batch).float(), config).cpu()
        return [
            _likeliest(row_scores, config.id2label, row.top_k)
            for row, row_scores in zip(batch, scores, strict=True)
        ]

    def warm_up(self) -> None:
        self.predict([self._classifier.blank()])

    def memory_bytes(self) -> int:
        return weights.memory_bytes(self._classifier.model)

    def unload(self) -> None:
        del self._classifier
        gc.collect()
        release_cached_memory()


def _kind(version: VersionSpec, config: Any) -> Callable[[VersionSpec, str], Classifier]:
    """What loads the checkpoint's architecture. Raises `ModelUnavailable`."""
    architectures = config.architectures or []
    for name in architectures:
        for suffix, kind in KINDS.items():
            if name.endswith(suffix):
                return kind
    found = ", ".join(architectures) or "no architecture"
    raise ModelUnavailable(f"{version.path} names {found}, and none of {', '.join(KINDS)} in its config.json")


def _scores(logits: Tensor, config: Any) -> Tensor:
    """What the model was trained to be read as: labels that exclude each other, or independent ones."""
    if config.problem_type == "regression":
        return logits
    if config.problem_type == "multi_label_classification" or config.num_labels == 1:
        return logits.sigmoid()
    return logits.softmax(dim=-1)


def _likeliest(scores: Tensor, names: dict[int, str], count: int) -> Output:
    values, places = scores.topk(min(count, len(scores)))
    return [
        Label(label=names[place], score=value)
        for value, place in zip(values.tolist(), places.tolist(), strict=True)
    ]
