"""Embeddings: texts as vectors whose directions tell how near their meanings are."""

from __future__ import annotations

from model_types.base import TypeInfo
from model_types.embeddings.schema import Input, Output, cost

INFO = TypeInfo(
    name="embeddings",
    description="Turns texts into vectors; texts of like meaning get vectors of like direction.",
    Input=Input,
    Output=Output,
    engines={
        "transformers": "model_types.embeddings.transformers:Transformers",
        "sentence-transformers": "model_types.embeddings.sentence_transformers:SentenceTransformers",
    },
    default_engine="transformers",
    takes=("text",),
    gives=("embedding",),
    cost=cost,
    budget=1 << 20,
    max_batch=256,
)
