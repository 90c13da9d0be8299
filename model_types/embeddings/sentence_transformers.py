"""The sentence-transformers engine: for checkpoints whose modules the transformers engine does not know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize

from model_types import weights
from model_types.base import VersionSpec
from model_types.embeddings.card import unknown_prompt
from model_types.embeddings.engine import Embedder, Request, Vectors

BYTES_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class PromptedText:
    """A text, and the name of the prompt that goes before it."""

    text: str
    prompt_name: str | None


class SentenceTransformers(Embedder):
    """Any model of sentence-transformers whose modules are its own; the weights are safetensors."""

    _model: SentenceTransformer

    def _load(self, version: VersionSpec, device: str) -> None:
        where = weights.source(version)
        with weights.reasons(version):
            self._model = SentenceTransformer(
                where["pretrained_model_name_or_path"],
                device=device,
                cache_folder=where.get("cache_dir"),
                revision=where.get("revision"),
                local_files_only=where["local_files_only"],
                model_kwargs={"dtype": weights.dtype(version, device), "use_safetensors": True},
            )
        self._model.eval()
        # Whether to normalise is the request's business.
        for name, module in list(self._model.named_children()):
            if isinstance(module, Normalize):
                delattr(self._model, name)
        self.dimensions = self._model.get_embedding_dimension() or 0

    def row(self, text: str, prompt_name: str | None) -> PromptedText:
        if prompt_name is not None and prompt_name not in self._model.prompts:
            raise unknown_prompt(prompt_name, self._model.prompts)
        return PromptedText(text, prompt_name)

    def row_of_ids(self, token_ids: Sequence[int]) -> PromptedText:
        raise ValueError("input.text: the engine of this version, sentence-transformers, takes no token ids")

    def size(self, prepared: PromptedText) -> int:
        """Roughly its tokens: the library tokenises when it computes."""
        return 1 + len(prepared.text.encode()) // BYTES_PER_TOKEN

    def metrics(self, prepared: Request) -> Mapping[str, float | str]:
        """Nothing: sizes are rough."""
        return {}

    def batch_key(self, prepared: PromptedText) -> str | None:
        return prepared.prompt_name

    @torch.inference_mode()
    def predict_parts(self, parts: Sequence[PromptedText]) -> Sequence[Vectors]:
        vectors: Vectors = self._model.encode(
            [part.text for part in parts],
            prompt_name=parts[0].prompt_name,
            batch_size=len(parts),
            show_progress_bar=False,
        )
        return list(vectors)
