"""Rerank: which documents answer a query best."""

from __future__ import annotations

from model_types.base import TypeInfo
from model_types.rerank.schema import Input, Output, cost

INFO = TypeInfo(
    name="rerank",
    description="Orders documents by how well they answer a query, reading each beside it (a cross-encoder).",
    Input=Input,
    Output=Output,
    engines={"transformers": "model_types.rerank.transformers:Transformers"},
    default_engine="transformers",
    takes=("text",),
    gives=("score",),
    cost=cost,
    budget=1 << 20,
    max_batch=64,
)
