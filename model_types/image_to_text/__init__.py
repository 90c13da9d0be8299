"""Image to text: captions, answers to questions about images, and vision-language chat."""

from __future__ import annotations

from model_types.base import TypeInfo
from model_types.image_to_text.schema import Input, cost
from model_types.text_generation.pieces import Text

INFO = TypeInfo(
    name="image-to-text",
    description="Describes images and answers questions about them.",
    Input=Input,
    Output=Text,
    engines={
        "transformers": "model_types.image_to_text.transformers:Transformers",
        "moondream": "model_types.image_to_text.moondream:Moondream",
    },
    default_engine="transformers",
    takes=("text", "image"),
    gives=("text",),
    cost=cost,
    budget=65_536,
    max_batch=32,
    chunks="text",
)
