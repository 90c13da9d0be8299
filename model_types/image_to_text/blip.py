"""BLIP: captions, and short answers to questions (Li et al. 2022, https://arxiv.org/abs/2201.12086)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers import AutoProcessor, BlipForConditionalGeneration, BlipForQuestionAnswering

from model_types import weights
from model_types.base import Failure, VersionSpec
from model_types.image_to_text.engine import Family
from model_types.image_to_text.rows import new_tokens, one_question, only_picture, sampling
from model_types.image_to_text.schema import Input
from model_types.text_generation.pieces import Text
from model_types.text_generation.rows import Row
from model_types.text_generation.writing import Writer


@dataclass(slots=True, eq=False, kw_only=True)
class BlipRow(Row):
    """`ids` begin the text to be written; `pixels` is [1, 3, height, width]."""

    pixels: Tensor
    question: list[int] = field(default_factory=list)

    @property
    def input_tokens(self) -> int:
        """How many tokens are read, of the question and of the text's beginning."""
        return len(self.question) + len(self.ids)


class Blip(Family[BlipRow]):
    """What both models do: an encoder looks, and a decoder writes about what it is shown."""

    def __init__(self, model_class: Any, version: VersionSpec, device: str) -> None:
        self._processor = weights.load_processor(AutoProcessor, version)
        self.model = weights.load(model_class, version, device)
        self._config = self.model.config.text_config
        self._writer = Writer(
            self.model.text_decoder, self._processor.tokenizer, end_ids=[self._config.sep_token_id]
        )

    def _tokens(self, text: str, *, special: bool) -> list[int]:
        return list(self._processor.tokenizer(text, add_special_tokens=special)["input_ids"])

    def _pixels(self, request: Input) -> Tensor:
        picture = only_picture(request)
        pixels: Tensor = self._processor.image_processor(picture, return_tensors="pt")["pixel_values"]
        return pixels

    def _look(self, rows: Sequence[BlipRow]) -> Tensor:
        """What the encoder makes of the rows' images, [rows, patches, width]."""
        pixels = torch.cat([row.pixels for row in rows]).to(self.model.device, self.model.dtype)
        seen: Tensor = self.model.vision_model(pixel_values=pixels)[0]
        return seen


class Captions(Blip):
    """`BlipForConditionalGeneration`: a caption, which begins with the prompt if there is one."""

    def __init__(self, version: VersionSpec, device: str) -> None:
        super().__init__(BlipForConditionalGeneration, version, device)

    def row(self, request: Input) -> BlipRow:
        request = one_question(request)
        beginning = (request.prompt or "").rstrip()
        ids = [self._config.bos_token_id, *self._tokens(beginning, special=False)]
        return BlipRow(
            ids=ids,
            max_new_tokens=new_tokens(request, len(ids), self._config.max_position_embeddings),
            **sampling(request),
            pixels=self._pixels(request),
            beginning=beginning,
        )

    @torch.inference_mode()
    def write(self, rows: Sequence[BlipRow]) -> list[Text | Failure]:
        return self._writer.write(rows, encoder_hidden_states=self._look(rows))


class Answers(Blip):
    """`BlipForQuestionAnswering`: a few words that answer a question about the image.

    Only questions of one length share a pass: in transformers 5.23 the decoder's cross-attention heeds no
    mask, so that padding would change the answers.
    """

    def __init__(self, version: VersionSpec, device: str) -> None:
        super().__init__(BlipForQuestionAnswering, version, device)

    def row(self, request: Input) -> BlipRow:
        request = one_question(request)
        if request.prompt is None:
            raise ValueError("this model answers questions: give it a prompt")
        question = self._tokens(request.prompt, special=True)
        context_tokens = self._config.max_position_embeddings
        if len(question) > context_tokens:
            raise ValueError(f"the question has {len(question)} tokens; the model reads {context_tokens}")
        return BlipRow(
            ids=[self._config.bos_token_id],
            max_new_tokens=new_tokens(request, 1, context_tokens),
            **sampling(request),
            pixels=self._pixels(request),
            question=question,
        )

    def batch_key(self, row: BlipRow) -> int:
        return len(row.question)

    @torch.inference_mode()
    def write(self, rows: Sequence[BlipRow]) -> list[Text | Failure]:
        questions = torch.tensor([row.question for row in rows], device=self.model.device)
        seen = self._look(rows)
        understood = self.model.text_encoder(input_ids=questions, encoder_hidden_states=seen)[0]
        return self._writer.write(rows, encoder_hidden_states=understood)
