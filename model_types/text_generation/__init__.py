"""Text generation: what a causal language model writes after a prompt or a conversation."""

from __future__ import annotations

from model_types.base import TypeInfo
from model_types.text_generation.pieces import Text
from model_types.text_generation.schema import Input, cost

INFO = TypeInfo(
    name="text-generation",
    description="Continues a prompt, or answers a conversation, with a causal language model.",
    Input=Input,
    Output=Text,
    engines={"transformers": "model_types.text_generation.transformers:Transformers"},
    default_engine="transformers",
    takes=("text",),
    gives=("text",),
    cost=cost,
    budget=32_768,
    max_batch=64,
    chunks="text",
)
