"""The configuration of a checkpoint that brings its own code."""

from __future__ import annotations

from typing import Any

from transformers import PretrainedConfig


class TinyMoondreamConfig(PretrainedConfig):
    """How many words it knows, and how long a text it can read."""

    model_type = "tiny_moondream"

    def __init__(self, vocab_size: int = 13, max_position_embeddings: int = 64, **kwargs: Any) -> None:
        self.vocab_size = vocab_size
        self.max_position_embeddings = max_position_embeddings
        self.num_hidden_layers = 1
        self.hidden_size = vocab_size + 3
        super().__init__(**kwargs)
