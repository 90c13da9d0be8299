"""The transformers engine: static batches of ragged prompts through `generate`, each row on its own terms."""

from __future__ import annotations

import gc
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jinja2 import TemplateError
from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList

from model_types.base import Failure, ModelType, VersionSpec
from model_types.text_generation import INFO
from model_types.text_generation.loading import load_pretrained
from model_types.text_generation.rows import Row
from model_types.text_generation.sampling import RowSampler
from model_types.text_generation.schema import DEFAULT_NEW_TOKENS, Input
from model_types.text_generation.stopping import RowStopping, cut

# Decoded before the continuation and cut off again: some tokenizers drop the space that a text begins with.
CONTEXT_TOKENS = 6
# This many keep a CPU busy: one thread ran 64 ragged prompts 1.4 times (0.8 M parameters) to 2.5 times (24 M)
# as fast in four passes over rows of like length as in one pass.
CPU_ROWS_PER_PASS = 16
MESSAGE_CHARACTERS = 500


class Transformers(ModelType):
    """Any causal language model that transformers knows, from its safetensors."""

    # Any: the annotations of `generate` and of the tokenizers fit no concrete class.
    _model: Any
    _tokenizer: Any
    _end_ids: list[int]
    _context_tokens: int | None

    @property
    def max_batch(self) -> int:
        return int(self.spec.options.get("max_batch", INFO.max_batch))

    @property
    def rows_per_pass(self) -> int:
        """How many rows go through the model together."""
        return CPU_ROWS_PER_PASS if self._model.device.type == "cpu" else self.max_batch

    def load(self, version: VersionSpec, device: str) -> None:
        self.spec = version
        if (threads := version.options.get("threads")) is not None:
            torch.set_num_threads(int(threads))
        self._model, self._tokenizer = load_pretrained(version, device)
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
        if not batch:
            return []
        return self._complete(batch)

    def session(self) -> GenerationSession:
        return GenerationSession(self)

    def warm_up(self) -> None:
        self._generate([Row(ids=[self._pad_id], max_new_tokens=2)])

    def memory_bytes(self) -> int:
        tensors = [*self._model.parameters(), *self._model.buffers()]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    def unload(self) -> None:
        del self._model, self._tokenizer
        gc.collect()
        _free_cached_memory()

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

    def _complete(self, rows: Sequence[Row]) -> list[str | Failure]:
        """The rows' texts. Where a batch fails, its halves are tried, so that only the culprit fails."""
        try:
            return list(self._generate(rows))
        except torch.AcceleratorError:
            raise  # The device is of no use to this process any more.
        except Exception as error:  # Whatever model code raises.
            failure = _failure(error)
        # Out of the `except`, whose traceback would keep the batch's tensors alive.
        _free_cached_memory()
        if len(rows) == 1:
            return [failure]
        middle = len(rows) // 2
        return [*self._complete(rows[:middle]), *self._complete(rows[middle:])]

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


class GenerationSession:
    """Rows that wait for their pass through the model; each `step()` is one pass over rows of like length.

    A pass takes as long as its longest row, so the others wait for passes of their own, and more may join
    them between two passes. Each pass takes the oldest row along: nobody waits for ever.
    """

    def __init__(self, engine: Transformers) -> None:
        self._engine = engine
        self._rows: dict[str, Row] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def room(self) -> int:
        return self._engine.max_batch - len(self._rows)

    def add(self, key: str, prepared: Row) -> None:
        self._rows[key] = prepared

    def cancel(self, key: str) -> None:
        if row := self._rows.get(key):
            row.cancelled = True

    def step(self) -> Mapping[str, Any | Failure]:
        self._rows = {key: row for key, row in self._rows.items() if not row.cancelled}
        rows = {key: self._rows[key] for key in self._next_pass()}
        outcomes = dict(zip(rows, self._engine.predict(list(rows.values())), strict=True))
        self._rows = {key: row for key, row in self._rows.items() if key not in rows}
        return {key: outcome for key, outcome in outcomes.items() if not rows[key].cancelled}

    def _next_pass(self) -> list[str]:
        """The keys that stand beside the oldest when all are cut into passes by length."""
        by_length = sorted(self._rows, key=lambda key: self._rows[key].work)
        size = self._engine.rows_per_pass
        first = by_length.index(next(iter(self._rows))) // size * size if by_length else 0
        return by_length[first : first + size]


def _ids(ids: int | list[int] | None) -> list[int]:
    """Transformers says "no token", "one token" and "any of these" in three types."""
    if ids is None:
        return []
    return [ids] if isinstance(ids, int) else list(ids)


def _failure(error: Exception) -> Failure:
    """Why the batch failed, in one line. PyTorch has a type for lack of memory on accelerators only."""
    message = " ".join(str(error).split())[:MESSAGE_CHARACTERS] or type(error).__name__
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and ("out of memory" in message or "allocate memory" in message)
    ):
        return Failure("out_of_memory", message)
    return Failure("model_error", message)


def _free_cached_memory() -> None:
    """Give back what the allocator keeps for itself."""
    if torch.accelerator.is_available():
        torch.accelerator.empty_cache()
