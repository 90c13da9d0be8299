"""Moondream2, run by the code that comes with its weights (https://huggingface.co/vikhyatk/moondream2)."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL.Image import Image
from transformers import AutoTokenizer, LogitsProcessorList, StoppingCriteriaList

from model_types import remote_code, weights
from model_types.base import Failure, ModelUnavailable, VersionSpec
from model_types.image_to_text.engine import Family, ImageToText
from model_types.image_to_text.rows import one_question, only_picture, sampling
from model_types.image_to_text.schema import Input
from model_types.text_generation.pieces import Text
from model_types.text_generation.rows import Row
from model_types.text_generation.sampling import RowSampler
from model_types.text_generation.stopping import RowStopping, cut
from model_types.text_generation.telling import RowTelling

UNASKED = "Describe this image."


class Moondream(ImageToText):
    """Any revision of Moondream2, or a model whose code answers as it does."""

    def _load_family(self, version: VersionSpec, device: str) -> Family[Any]:
        place = remote_code.folder(version)
        model = remote_code.load("AutoModelForCausalLM", version, device, place)
        if hasattr(model, "query"):
            return Queries(model)
        if hasattr(model, "batch_answer"):
            with weights.reasons(version):
                tokenizer = AutoTokenizer.from_pretrained(
                    place, trust_remote_code=True, local_files_only=True
                )
            return BatchAnswers(model, tokenizer)
        raise ModelUnavailable(f"the code in {version.path} has neither batch_answer nor query")


@dataclass(slots=True, eq=False, kw_only=True)
class MoondreamRow(Row):
    """A question about a picture; the model's code makes its tokens, so that `ids` is empty."""

    picture: Image
    question: str

    @property
    def metrics(self) -> Mapping[str, float | str]:
        """The model's code tells nobody how many tokens it makes."""
        return {}


def _row(request: Input) -> MoondreamRow:
    request = one_question(request)
    return MoondreamRow(
        ids=[],
        max_new_tokens=request.max_new_tokens,
        **sampling(request),
        picture=only_picture(request),
        question=request.prompt or UNASKED,
    )


class BatchAnswers(Family[MoondreamRow]):
    """Revisions up to 2024-08-26: `batch_answer` hands whatever else it is given on to `generate`."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.model = model
        self._tokenizer = tokenizer

    def row(self, request: Input) -> MoondreamRow:
        return _row(request)

    @torch.inference_mode()
    def write(self, rows: Sequence[MoondreamRow]) -> list[Text | Failure]:
        device = self.model.device
        samplers = LogitsProcessorList()
        if not all(row.takes_scores_as_they_are for row in rows):
            samplers.append(RowSampler(rows, 0, device))
        # It embeds the prompts itself: what `generate` counts are the tokens that it writes.
        stopping = RowStopping(rows, 0, self._tokenizer, device)
        telling = RowTelling(rows, 0, self._decode, (), device)
        answers = self.model.batch_answer(
            images=[row.picture for row in rows],
            prompts=[row.question for row in rows],
            tokenizer=self._tokenizer,
            max_new_tokens=max(row.max_new_tokens for row in rows),
            do_sample=False,
            logits_processor=samplers,
            stopping_criteria=StoppingCriteriaList([stopping, telling]),
        )
        return [cut(answer, row.stop).strip() for answer, row in zip(answers, rows, strict=True)]

    def _decode(self, ids: list[int]) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=True))


class Queries(Family[MoondreamRow]):
    """Later revisions: `query` answers one question after the other.

    The first of them take no settings, and write for as long as they like.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self._takes_settings = "settings" in inspect.signature(model.query).parameters

    def row(self, request: Input) -> MoondreamRow:
        if request.top_k:
            raise ValueError("this model cannot be told a top_k")
        if not self._takes_settings and (request.temperature > 0 or request.top_p < 1):
            raise ValueError("this revision of the model cannot be told how to choose")
        return _row(request)

    @torch.inference_mode()
    def write(self, rows: Sequence[MoondreamRow]) -> list[Text | Failure]:
        return [self._answer(row) for row in rows]

    def _answer(self, row: MoondreamRow) -> str:
        if row.cancelled:
            return ""
        settings = {"max_tokens": row.max_new_tokens, "temperature": row.temperature, "top_p": row.top_p}
        options = {"settings": settings} if self._takes_settings else {}
        device = self.model.device
        # It draws from the process's own generator, which others draw from too.
        with torch.random.fork_rng([] if device.type == "cpu" else [device], device_type=device.type):
            torch.manual_seed(row.seed)
            answer = self.model.query(row.picture, row.question, **options)["answer"]
        return cut(str(answer), row.stop).strip()
