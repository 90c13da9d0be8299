"""Text to image: what a diffusion model draws from a prompt, from an image, or into the hole of one."""

from __future__ import annotations

from model_types.base import TypeInfo
from model_types.text_to_image.schema import Input, Output, cost

INFO = TypeInfo(
    name="text-to-image",
    description="Draws images from a prompt, alters a given image, or paints a part of it anew.",
    Input=Input,
    Output=Output,
    engines={"diffusers": "model_types.text_to_image.diffusers:Diffusers"},
    default_engine="diffusers",
    takes=("text", "image"),
    gives=("image",),
    aliases=("image-generation",),
    cost=cost,
    budget=4096,
    max_batch=8,
)
