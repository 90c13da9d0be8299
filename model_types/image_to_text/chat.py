"""Vision-language models with a chat template, such as Qwen3-VL and SmolVLM."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jinja2 import TemplateError
from torch import Tensor
from transformers import AutoModelForImageTextToText, AutoProcessor

from model_types import weights
from model_types.base import Failure, ModelUnavailable, VersionSpec
from model_types.image_to_text.engine import Family
from model_types.image_to_text.rows import new_tokens, pictures, sampling
from model_types.image_to_text.schema import ImagePart, Input, TextPart
from model_types.text_generation.pieces import Text
from model_types.text_generation.rows import Row
from model_types.text_generation.writing import Writer

UNASKED = "Describe what you see."
# What a processor gives per token rather than per image; the writer makes its own mask.
_OF_TOKENS = ("token_type_ids", "mm_token_type_ids")
_NOT_NEEDED = ("input_ids", "attention_mask")


@dataclass(slots=True, eq=False, kw_only=True)
class ChatRow(Row):
    """`seen` are the processor's tensors of the images, `kinds` those that say what each token is."""

    seen: Mapping[str, Tensor]
    kinds: Mapping[str, list[int]]


class Chat(Family[ChatRow]):
    """A model that takes a conversation with images in it."""

    def __init__(self, version: VersionSpec, device: str) -> None:
        self._processor = weights.load_processor(AutoProcessor, version)
        if getattr(self._processor, "chat_template", None) is None:
            raise ModelUnavailable(f"{version.path} has no chat template, and is not a BLIP model either")
        self.model = weights.load(AutoModelForImageTextToText, version, device)
        text_config = self.model.config.get_text_config()
        self._context_tokens = getattr(text_config, "max_position_embeddings", None)
        self._writer = Writer(self.model, self._processor.tokenizer)

    def row(self, request: Input) -> ChatRow:
        inputs = self._read(request)
        ids = inputs["input_ids"][0].tolist()
        return ChatRow(
            ids=ids,
            max_new_tokens=new_tokens(request, len(ids), self._context_tokens),
            **sampling(request),
            logprobs=request.logprobs,
            grammar=self._writer.grammar(request.json_schema),
            seen={k: v for k, v in inputs.items() if k not in (*_OF_TOKENS, *_NOT_NEEDED)},
            kinds={name: inputs[name][0].tolist() for name in _OF_TOKENS if name in inputs},
        )

    def batch_key(self, row: ChatRow) -> Hashable:
        """The shapes of its tensors but for the first dimension, along which those of a pass are joined.

        There a processor counts rows, images or patches: Qwen's images of any size go together, while those
        of other models have to be of one size.
        """
        return tuple(sorted((name, tuple(tensor.shape[1:])) for name, tensor in row.seen.items()))

    def write(self, rows: Sequence[ChatRow]) -> list[Text | Failure]:
        width = max(len(row.ids) for row in rows)
        seen = {name: torch.cat([row.seen[name] for row in rows]) for name in rows[0].seen}
        kinds = {
            name: torch.tensor([[0] * (width - len(row.ids)) + row.kinds[name] for row in rows])
            for name in rows[0].kinds
        }
        inputs = {name: self._there(tensor) for name, tensor in (seen | kinds).items()}
        return self._writer.write(rows, **inputs)

    def _read(self, request: Input) -> Mapping[str, Tensor]:
        """The processor's tensors. What a prompt says in the template's own signs is read as plain text."""
        try:
            inputs: Mapping[str, Tensor] = self._processor.apply_chat_template(
                _turns(request),
                add_generation_prompt=True,
                tokenize=True,
                return_dict=True,
                return_tensors="pt",
                # Said again: without any, SmolVLM's processor adds a video's to the template's options.
                processor_kwargs={"return_tensors": "pt"},
                sanitize_control_tokens=True,
            )
        except TemplateError as error:
            raise ValueError(f"the model's chat template does not take these messages: {error}") from error
        return inputs

    def _there(self, tensor: Tensor) -> Tensor:
        """The tensor on the model's device, numbers in the model's own type."""
        if tensor.is_floating_point():
            return tensor.to(self.model.device, self.model.dtype)
        return tensor.to(self.model.device)


def _turns(request: Input) -> list[dict[str, object]]:
    """The conversation as chat templates want it, images at their places."""
    if request.messages is None:
        seen = [{"type": "image", "image": picture} for picture in pictures(request)]
        return [{"role": "user", "content": [*seen, {"type": "text", "text": request.prompt or UNASKED}]}]
    return [
        {"role": turn.role, "content": [_part(part) for part in turn.content]} for turn in request.messages
    ]


def _part(part: TextPart | ImagePart) -> dict[str, object]:
    if isinstance(part, ImagePart):
        return {"type": "image", "image": part.image.content}
    return {"type": "text", "text": part.text}
