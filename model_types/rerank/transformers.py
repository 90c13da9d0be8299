"""The transformers engine: a cross-encoder, which reads the query and a document together."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from model_types import tokens, weights
from model_types.activations import activation
from model_types.base import ModelUnavailable, VersionSpec
from model_types.batching import release_cached_memory
from model_types.parts import TokenModelType
from model_types.rerank.schema import Document, Input, Output, Ranked, text_of


@dataclass(frozen=True, slots=True)
class Request:
    """A pair of query and document in tokens for each document, and what to say of the best."""

    rows: Sequence[tokens.Encoding]
    documents: Sequence[str | Document]
    top_n: int
    return_documents: bool


class Transformers(TokenModelType):
    """Any `…ForSequenceClassification` with one label, from its safetensors.

    Its score goes through the activation that the checkpoint's configuration names, as with
    sentence-transformers' CrossEncoder; through a sigmoid where it names none.
    """

    # Any: the annotations of transformers' models fit no concrete class.
    _model: Any
    _activation: nn.Module

    def load(self, version: VersionSpec, device: str) -> None:
        self.spec = version
        if (threads := version.options.get("threads")) is not None:
            torch.set_num_threads(int(threads))
        self._model = weights.load(AutoModelForSequenceClassification, version, device)
        config = self._model.config
        if config.num_labels != 1:
            raise ModelUnavailable(
                f"{version.path} gives {config.num_labels} scores to a pair, and a cross-encoder gives one"
            )
        self._activation = activation(_activation_path(config))
        self._tokenizer = tokens.Tokenizer(weights.load_processor(AutoTokenizer, version), config)

    def prepare(self, value: Any) -> Request:
        """The pairs of an `Input`, or of a dict that makes one."""
        request = Input.model_validate(value)
        return Request(
            rows=[self._tokenizer(request.query, text_of(document)) for document in request.documents],
            documents=request.documents,
            top_n=request.top_n or len(request.documents),
            return_documents=request.return_documents,
        )

    def parts(self, prepared: Request) -> Sequence[tokens.Encoding]:
        return prepared.rows

    def size(self, prepared: tokens.Encoding) -> int:
        return tokens.size(prepared)

    @torch.inference_mode()
    def predict_parts(self, parts: Sequence[tokens.Encoding]) -> Sequence[float]:
        logits = self._model(**self._tokenizer.padded(parts, self._model.device)).logits
        scores: list[float] = self._activation(logits.float())[:, 0].tolist()
        return scores

    def join(self, prepared: Request, results: Sequence[float]) -> Output:
        best = sorted(range(len(results)), key=lambda index: -results[index])[: prepared.top_n]
        ranked = [Ranked(index=index, relevance_score=results[index]) for index in best]
        if prepared.return_documents:
            for one in ranked:
                one["document"] = _as_object(prepared.documents[one["index"]])
        return ranked

    def warm_up(self) -> None:
        self.predict([self.prepare(Input(query="warm", documents=["up"]))])

    def memory_bytes(self) -> int:
        return weights.memory_bytes(self._model)

    def unload(self) -> None:
        del self._model
        gc.collect()
        release_cached_memory()


def _activation_path(config: Any) -> str:
    """Where the configuration names it: sentence-transformers has moved that at its version 4."""
    newer = getattr(config, "sentence_transformers", None) or {}
    older = getattr(config, "sbert_ce_default_activation_function", None)
    return newer.get("activation_fn") or older or "torch.nn.Sigmoid"


def _as_object(document: str | Document) -> dict[str, object]:
    return {"text": document} if isinstance(document, str) else document.model_dump()
