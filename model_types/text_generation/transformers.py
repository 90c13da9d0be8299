"""The transformers engine: static batches of ragged prompts through `generate`, each row on its own terms."""

from __future__ import annotations

import gc
import secrets
from collections.abc import Sequence
from typing import Any

import torch
from jinja2 import TemplateError
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    LogitsProcessorList,
    StoppingCriteriaList,
)

from model_types import weights
from model_types.base import Failure, ModelType, VersionSpec
from model_types.batching import release_cached_memory
from model_types.text_generation.rows import Row
from model_types.text_generation.sampling import RowSampler
from model_types.text_generation.schema import DEFAULT_NEW_TOKENS, Input
from model_types.text_generation.stopping import RowStopping, cut

# Decoded before the continuation and cut off again: some tokenizers drop the space that a text begins with.
CONTEXT_TOKENS = 6
# This many keep a CPU busy: one thread ran 64 ragged prompts 1.4 times (0.8 M parameters) to 2.5 times (24 M)
# as fast in four passes over rows of like length as in one pass.
CPU_ROWS_PER_PASS = 16


class Transformers(ModelType):
    """Any causal language model that transformers knows, from its safetensors."""

    # Any: the annotations of `generate` and of the tokenizers fit no concrete class.
    _model: Any
    _tokenizer: Any
    _end_ids: list[int]
    _context_tokens: int | None

    @property
    def pass_rows(self) -> int:
        is_cpu = self._model.device.type == "cpu"
        return self._option("pass_rows", CPU_ROWS_PER_PASS if is_cpu else self.max_batch)

    def load(self, version: VersionSpec, device: str) -> None:
        self.spec = version
        if (threads := version.options.get("threads")) is not None:
            torch.set_num_threads(int(threads))
        self._tokenizer = weights.load_processor(AutoTokenizer, version)
        self._model = weights.load(AutoModelForCausalLM, version, device)
        self._context_tokens = getattr(self._model.config.get_text_config(), "max_position_embeddings", None)
        self._end_ids = _ids(self._model.generation_config.eos_token_id) or _ids(self._tokenizer.eos_token_id)
        # The defaults that come with a model (a temperature, a penalty) are not what our schema promises.
        self._model.generation_config = GenerationConfig()

    def prepare(self, value: Any) -> Row:
        """Tokenise an `Input`, or a dict that makes one. `ValueError` where the model cannot take it."""
        request = Input.model_validate(value)
        ids = self._tokenise(request)
        return Row(
            ids=ids,
            max_new_tokens=self._new_tokens(request, len(ids)),
            temperature=request.temperature,
            top_p=request.top_p,
            top_k=request.top_k,
            repetition_penalty=request.repetition_penalty,
            seed=secrets.randbits(63) if request.seed is None else request.seed,
            stop=request.stop_strings,
        )

    def predict(self, batch: Sequence[Row]) -> Sequence[str | Failure]:
        return self._generate(batch) if batch else []

    def size(self, prepared: Row) -> int:
        return prepared.size

    def cancel(self, prepared: Row) -> None:
        prepared.cancelled = True

    def warm_up(self) -> None:
        self._generate([Row(ids=[self._pad_id], max_new_tokens=2)])

    def memory_bytes(self) -> int:
        return weights.memory_bytes(self._model)

    def unload(self) -> None:
        del self._model, self._tokenizer
        gc.collect()
        release_cached_memory()

    @property
    def _pad_id(self) -> int:
        pad_id = _ids(self._tokenizer.pad_token_id) or self._end_ids or [0]
        return pad_id[0]

    def _tokenise(self, request: Input) -> list[int]:
        if request.messages is None:
            ids = self._tokenizer(request.prompt)["input_ids"]
        elif self._tokenizer.chat_template is None:
            raise ValueError("this model has no chat template: give it a prompt instead of messages")
        else:
            turns = [turn.model_dump() for turn in request.messages]
            try:
                ids = self._tokenizer.apply_chat_template(turns, add_generation_prompt=True)["input_ids"]
            except TemplateError as error:
                raise ValueError(
                    f"the model's chat template does not take these messages: {error}"
                ) from error
        if not ids:
            raise ValueError("the prompt has no tokens")
        return list(ids)

    def _new_tokens(self, request: Input, prompt_tokens: int) -> int:
        """How many tokens it may write; `ValueError` where that is none, or more than the model can hold."""
        room = None if self._context_tokens is None else self._context_tokens - prompt_tokens
        if room is not None and room < max(1, request.max_new_tokens or 0):
            asked = f" and max_new_tokens {request.max_new_tokens}" if request.max_new_tokens else ""
            raise ValueError(
                f"the prompt of {prompt_tokens} tokens{asked} do not fit into the model's context of "
                f"{self._context_tokens} tokens"
            )
        if request.max_length is not None:
            wanted = request.max_length - prompt_tokens
            if wanted < 1:
                raise ValueError(
                    f"the prompt has {prompt_tokens} tokens, which leaves none of max_length "
                    f"{request.max_length} to write"
                )
        else:
            wanted = request.max_new_tokens or DEFAULT_NEW_TOKENS
        return wanted if room is None else min(wanted, room)

    @torch.inference_mode()
    def _generate(self, rows: Sequence[Row]) -> list[str]:
        device = self._model.device
        width = max(len(row.ids) for row in rows)
        padded = [[self._pad_id] * (width - len(row.ids)) + row.ids for row in rows]
        mask = [[0] * (width - len(row.ids)) + [1] * len(row.ids) for row in rows]
        samplers = LogitsProcessorList()
        if not all(row.takes_scores_as_they_are for row in rows):
            samplers.append(RowSampler(rows, width, device))
        output = self._model.generate(
            torch.tensor(padded, device=device),
            attention_mask=torch.tensor(mask, device=device),
            generation_config=GenerationConfig(
                max_new_tokens=max(row.max_new_tokens for row in rows),
                eos_token_id=self._end_ids or None,
                pad_token_id=self._pad_id,
            ),
            logits_processor=samplers,
            stopping_criteria=StoppingCriteriaList([RowStopping(rows, width, self._tokenizer, device)]),
        )
        return [self._text(row, ids) for row, ids in zip(rows, output[:, width:].tolist(), strict=True)]

    def _text(self, row: Row, written: list[int]) -> str:
        written = written[: row.max_new_tokens]
        ends = [written.index(end) for end in self._end_ids if end in written]
        written = written[: min(ends, default=len(written))]
        context = row.ids[-CONTEXT_TOKENS:]
        before = self._decode(context)
        text = self._decode(context + written)
        return cut(text[len(before) :] if text.startswith(before) else self._decode(written), row.stop)

    def _decode(self, ids: list[int]) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))


def _ids(ids: int | list[int] | None) -> list[int]:
    """Transformers says "no token", "one token" and "any of these" in three types."""
    if ids is None:
        return []
    return [ids] if isinstance(ids, int) else list(ids)
