"""The transformers engine: an encoder, and what its card says to do with its hidden states."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModel, AutoTokenizer

from model_types import tokens, weights
from model_types.base import VersionSpec
from model_types.embeddings import card, packing
from model_types.embeddings.engine import Embedder, Vectors
from model_types.embeddings.pooling import pool


class Transformers(Embedder):
    """Any encoder that transformers knows, from its safetensors, pooled as its card says."""

    @property
    def pads(self) -> bool:
        return not self._packs

    def _load(self, version: VersionSpec, device: str) -> None:
        config = weights.load_processor(AutoConfig, version)
        self._packs = packing.is_packable(config, device)
        self._card = card.read(version)
        self._model = weights.load(AutoModel, version, device)
        if self._packs:
            self._model = packing.PackedEncoder(self._model)
        self._dense = [layer.to(self._model.device, self._model.dtype) for layer in self._card.dense]
        self._tokenizer = tokens.Tokenizer(
            weights.load_processor(AutoTokenizer, version), config, max_tokens=self._card.max_tokens
        )
        pooled = config.get_text_config().hidden_size * len(self._card.poolings)
        self.dimensions = self._dense[-1].dimensions if self._dense else pooled

    def row(self, text: str, prompt_name: str | None) -> tokens.Encoding:
        return self._tokenizer(self._card.prompted(text, prompt_name))

    def row_of_ids(self, token_ids: Sequence[int]) -> tokens.Encoding:
        return self._tokenizer.of_ids(token_ids)

    def size(self, prepared: tokens.Encoding) -> int:
        return tokens.size(prepared)

    @torch.inference_mode()
    def predict_parts(self, parts: Sequence[tokens.Encoding]) -> Sequence[Vectors]:
        states = self._hidden_states(parts)
        vectors = torch.stack([pool(row.float(), self._card.poolings) for row in states])
        for layer in self._dense:
            vectors = layer(vectors.to(self._model.dtype)).float()
        return list(vectors.cpu().numpy())

    def _hidden_states(self, rows: Sequence[tokens.Encoding]) -> Sequence[Tensor]:
        """The last hidden states of each row, [tokens, dimensions]."""
        if self._packs:
            states: Sequence[Tensor] = self._model(rows)
            return states
        output = self._model(**self._tokenizer.padded(rows, self._model.device)).last_hidden_state
        return [state[: tokens.size(row)] for state, row in zip(output, rows, strict=True)]
