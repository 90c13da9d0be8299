"""A model that brings its own code, in the ways of transformers 4 that transformers 5 does not know any more.

The text model is no `GenerationMixin`, prepares its inputs for a cache that does not exist before the first
token, and asks that cache for its `get_usable_length`; the whole model never calls `post_init`; and a table
that no file holds is computed while the model is built.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from PIL.Image import Image
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

from .configuration_tiny_moondream import TinyMoondreamConfig

COLOURS = ("red", "green", "blue")


class TinyTextModel(PreTrainedModel):
    """The next word depends on the last one, and on the sum of all before it."""

    config_class = TinyMoondreamConfig
    _tied_weights_keys = ["follows.weight"]  # type: ignore[assignment]  # noqa: RUF012 - as it was once

    earlier: Tensor

    def __init__(self, config: TinyMoondreamConfig) -> None:
        super().__init__(config)
        self.width = config.hidden_size
        self.embedding = nn.Embedding(config.vocab_size, self.width)
        self.follows = nn.Linear(self.width, config.vocab_size, bias=False)
        self.suggests = nn.Linear(self.width, config.vocab_size, bias=False)
        length = config.max_position_embeddings
        self.register_buffer("earlier", torch.tril(torch.ones(length, length)), persistent=False)

    def get_input_embeddings(self) -> nn.Module:
        return self.embedding

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: Tensor | None = None,
        **_: Any,
    ) -> CausalLMOutputWithPast:
        embeds = self.embedding(input_ids) if inputs_embeds is None else inputs_embeds
        before = past_key_values.get_usable_length(embeds.shape[1], 0)
        all_embeds, _ = past_key_values.update(embeds[:, None], embeds[:, None], 0)
        length = all_embeds.shape[2]
        visible = self.earlier[None, before:length, :length]
        if attention_mask is not None:
            visible = visible * attention_mask[:, None, :]
        logits = self.follows(embeds) + self.suggests(visible @ all_embeds[:, 0])
        return CausalLMOutputWithPast(logits=logits, past_key_values=past_key_values)

    def prepare_inputs_for_generation(
        self,
        input_ids: Tensor,
        past_key_values: Any = None,
        inputs_embeds: Tensor | None = None,
        **inputs: Any,
    ) -> dict[str, Any]:
        if past_key_values is None:
            return {**inputs, "inputs_embeds": inputs_embeds}
        return {
            **inputs,
            "input_ids": input_ids[:, past_key_values.seen_tokens :],
            "past_key_values": past_key_values,
        }


class VisionEncoder(nn.Module):
    """An image's mean colour, as one embedding."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.projection = nn.Linear(len(COLOURS), width, bias=False)

    def forward(self, images: Sequence[Image]) -> Tensor:
        pixels = [image.resize((1, 1)).getpixel((0, 0)) for image in images]
        weight = self.projection.weight
        means = torch.tensor(pixels, dtype=weight.dtype, device=weight.device) / 255
        embeds: Tensor = self.projection(means)[:, None]
        return embeds


class TinyMoondream(PreTrainedModel):
    """Answers questions about images."""

    config_class = TinyMoondreamConfig

    def __init__(self, config: TinyMoondreamConfig) -> None:
        super().__init__(config)
        self.vision_encoder = VisionEncoder(config.hidden_size)
        self.text_model = TinyTextModel(config)

    def batch_answer(
        self, images: Sequence[Image], prompts: Sequence[str], tokenizer: Any, **kwargs: Any
    ) -> list[str]:
        embedding = self.text_model.get_input_embeddings()

        def embedded(text: str) -> Tensor:
            ids: Tensor = tokenizer(text, return_tensors="pt").input_ids[0]
            embeds: Tensor = embedding(ids.to(self.device))
            return embeds

        start = embedding(torch.tensor([tokenizer.bos_token_id], device=self.device))
        rows = [
            torch.cat([start, seen, embedded(f"Question: {prompt} Answer:")])
            for seen, prompt in zip(self.vision_encoder(images), prompts, strict=True)
        ]
        width = max(len(row) for row in rows)
        padded = [torch.cat([start.expand(width - len(row), -1), row]) for row in rows]
        mask = [[0] * (width - len(row)) + [1] * len(row) for row in rows]
        text_model: Any = self.text_model
        output = text_model.generate(
            inputs_embeds=torch.stack(padded),
            attention_mask=torch.tensor(mask, device=self.device),
            **{
                "eos_token_id": tokenizer.eos_token_id,
                "pad_token_id": tokenizer.bos_token_id,
                "max_new_tokens": 512,
                **kwargs,
            },
        )
        return [text.strip() for text in tokenizer.batch_decode(output, skip_special_tokens=True)]
