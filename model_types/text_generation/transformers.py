"""The transformers engine: static batches of ragged prompts through `generate`, each row on its own terms."""

from __future__ import annotations

import gc
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jinja2 import TemplateError
from transformers import AutoModelForCausalLM, AutoTokenizer

from model_types import weights
from model_types.base import Chunks, Failure, ModelType, Tell, VersionSpec
from model_types.batching import release_cached_memory
from model_types.text_generation.pieces import Text
from model_types.text_generation.rows import Row
from model_types.text_generation.schema import DEFAULT_NEW_TOKENS, Input
from model_types.text_generation.writing import Writer

# This many keep a CPU busy: one thread ran 64 ragged prompts 1.4 times (0.8 M parameters) to 2.5 times (24 M)
# as fast in four passes over rows of like length as in one pass.
CPU_ROWS_PER_PASS = 16


class Transformers(ModelType):
    """Any causal language model that transformers knows, from its safetensors."""

    # Any: the annotations of `generate` and of the tokenizers fit no concrete class.
    _model: Any
    _tokenizer: Any
    _writer: Writer
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
        self._writer = Writer(self._model, self._tokenizer)

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
            logprobs=request.logprobs,
            grammar=self._writer.grammar(request.json_schema),
        )

    def predict(self, batch: Sequence[Row]) -> Sequence[Text | Failure]:
        return self._writer.write(batch) if batch else []

    def size(self, prepared: Row) -> int:
        return prepared.size

    def chunks(self, prepared: Row) -> Chunks:
        return prepared.chunks

    def metrics(self, prepared: Row) -> Mapping[str, float | str]:
        return prepared.metrics

    def cancel(self, prepared: Row) -> None:
        prepared.cancelled = True

    def listen(self, prepared: Row, tell: Tell) -> None:
        prepared.tell = tell

    def warm_up(self) -> None:
        self._writer.write([Row(ids=[self._writer.pad_id], max_new_tokens=2)])

    def memory_bytes(self) -> int:
        return weights.memory_bytes(self._model)

    def unload(self) -> None:
        del self._model, self._tokenizer, self._writer
        gc.collect()
        release_cached_memory()

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
        longest = self._option("max_prompt_tokens", prompt_tokens)
        if prompt_tokens > longest:
            raise ValueError(f"the prompt has {prompt_tokens} tokens; this server takes {longest} at most")
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
            wanted = request.max_new_tokens or self._option("default_new_tokens", DEFAULT_NEW_TOKENS)
        wanted = min(wanted, self._option("max_new_tokens", wanted))
        return wanted if room is None else min(wanted, room)
