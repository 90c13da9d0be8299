"""Classification: which labels a text or an image deserves, and how surely."""

from __future__ import annotations

from model_types.base import TypeInfo
from model_types.classification.schema import Input, Output, cost

INFO = TypeInfo(
    name="classification",
    description="Labels a text or an image, the likeliest label first.",
    Input=Input,
    Output=Output,
    engines={"transformers": "model_types.classification.transformers:Transformers"},
    default_engine="transformers",
    takes=("text", "image"),
    gives=("label",),
    aliases=("text-classification", "image-classification"),
    cost=cost,
    budget=65_536,
    max_batch=128,
)
