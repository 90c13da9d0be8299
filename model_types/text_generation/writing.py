"""Writing: one `generate` over rows of any length, each with its own sampling, limits and stop strings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList

from model_types.base import Failure
from model_types.text_generation.grammar import Grammars, RowGrammar
from model_types.text_generation.measuring import RowMeasuring
from model_types.text_generation.pieces import Text
from model_types.text_generation.rows import Row
from model_types.text_generation.sampling import RowSampler
from model_types.text_generation.stopping import RowStopping, cut
from model_types.text_generation.telling import RowTelling
from model_types.text_generation.vocabulary import Vocabulary

if TYPE_CHECKING:
    from llguidance import LLMatcher


class Writer:
    """Has a model write what follows each row's tokens, and tells it as text.

    The defaults that come with a model (a temperature, a penalty) are not what our schemas promise: they are
    forgotten here, all but the tokens that end a text.
    """

    def __init__(self, model: Any, tokenizer: Any, *, end_ids: Sequence[int] = ()) -> None:
        """`model` is anything that has `generate`; `end_ids` end a text, if the model does not say which."""
        self._model = model
        self._tokenizer = tokenizer
        own_ids = token_ids(model.generation_config.eos_token_id) or token_ids(tokenizer.eos_token_id)
        self._end_ids = list(end_ids) or own_ids
        self._vocabulary = Vocabulary(tokenizer)
        self._grammars = Grammars(tokenizer, self._end_ids)
        self.pad_id = (token_ids(tokenizer.pad_token_id) or self._end_ids or [0])[0]
        model.generation_config = GenerationConfig()

    def grammar(self, schema: Mapping[str, Any] | None) -> LLMatcher | None:
        """What a `Row` takes to fit this JSON Schema. `ValueError` where nothing can."""
        return None if schema is None else self._grammars.compile(schema)

    @torch.inference_mode()
    def write(self, rows: Sequence[Row], **inputs: Any) -> list[Text | Failure]:
        """The rows' texts; `inputs` go to `generate` beside the tokens, which are padded on the left."""
        device = self._model.device
        width = max(len(row.ids) for row in rows)
        padded = [[self.pad_id] * (width - len(row.ids)) + row.ids for row in rows]
        mask = [[0] * (width - len(row.ids)) + [1] * len(row.ids) for row in rows]
        stopping = RowStopping(rows, width, self._tokenizer, device)
        measuring = grammar = sampler = None
        if any(row.logprobs is not None for row in rows):
            measuring = RowMeasuring(rows, self._vocabulary, device)
        if any(row.grammar is not None for row in rows):
            grammar = RowGrammar(rows, width, stopping.lengths, self._grammars)
        if not all(row.takes_scores_as_they_are for row in rows):
            sampler = RowSampler(rows, width, device)
        telling = RowTelling(rows, width, self._decode, self._end_ids, device, measuring)
        output = self._model.generate(
            torch.tensor(padded, device=device),
            attention_mask=torch.tensor(mask, device=device),
            generation_config=GenerationConfig(
                max_new_tokens=max(row.max_new_tokens for row in rows),
                eos_token_id=self._end_ids or None,
                pad_token_id=self.pad_id,
            ),
            # In this order: likelihoods are the model's own, and what may not come is not drawn.
            logits_processor=LogitsProcessorList(filter(None, (measuring, grammar, sampler))),
            stopping_criteria=StoppingCriteriaList([stopping, telling]),
            **inputs,
        )
        written = output[:, width:].tolist()
        texts: list[Text | Failure] = []
        for index, (row, ids, length) in enumerate(zip(rows, written, stopping.lengths, strict=True)):
            text = self._text(row, ids[:length])
            pieces = telling.pieces.get(index)
            texts.append(text if pieces is None else pieces.whole(text))
        if grammar is not None:
            for index, reason in grammar.failed.items():
                texts[index] = Failure("invalid_input", f"the json_schema cannot be followed: {reason}")
        return texts

    def _text(self, row: Row, written: list[int]) -> str:
        ends = [written.index(end) for end in self._end_ids if end in written]
        row.output_tokens = min(ends, default=len(written) - 1) + 1
        written = written[: min(ends, default=len(written))]
        before = self._decode(row.context)
        whole = self._decode(row.context + written)
        whole = whole[len(before) :] if whole.startswith(before) else self._decode(written)
        text = cut(whole, row.stop)
        is_full = row.output_tokens == row.max_new_tokens and not ends and text == whole
        row.finish_reason = "length" if is_full else "stop"
        return f"{row.beginning}{text}".strip() if row.is_stripped else text

    def _decode(self, ids: list[int]) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))


def token_ids(ids: int | list[int] | None) -> list[int]:
    """Transformers says "no token", "one token" and "any of these" in three types."""
    if ids is None:
        return []
    return [ids] if isinstance(ids, int) else list(ids)
