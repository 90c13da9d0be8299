"""Grammars: a row that is to fit a JSON Schema may only draw tokens that go on towards an instance of it.

By llguidance (https://github.com/guidance-ai/llguidance), which is loaded when the first row asks for it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from transformers import LogitsProcessor

from model_types.text_generation.rows import Row

if TYPE_CHECKING:
    from llguidance import LLExecutor, LLMatcher, LLTokenizer

# Between the parts of JSON: a space, or a line's end and an indent. Where any blanks may come, some models
# write them for ever.
WHITESPACE = r"( ?|\n {0,24})"
# A state takes one or two kilobytes, and schemas that people write have some thousands.
MAX_LEXER_STATES = 50_000
MESSAGE_CHARACTERS = 300


class Grammars:
    """Makes grammars for the tokens of one model."""

    # Any: llguidance wants a tokenizer of the tokenizers library, which have no common base.
    def __init__(self, tokenizer: Any, end_ids: Sequence[int]) -> None:
        """`end_ids` are the tokens that end a text."""
        self._hf_tokenizer = tokenizer
        self.end_ids = list(end_ids)

    def compile(self, schema: Mapping[str, Any]) -> LLMatcher:
        """What lets instances of the schema pass, at their beginning. `ValueError` where none can be made."""
        from llguidance import LLMatcher, LLParserLimits

        grammar = LLMatcher.grammar_from_json_schema(
            json.dumps(schema), overrides={"whitespace_pattern": WHITESPACE}
        )
        limits = LLParserLimits(max_lexer_states=MAX_LEXER_STATES, verbose_errors=False)
        matcher = LLMatcher(self._tokenizer, grammar, log_level=0, limits=limits)
        if matcher.is_error():
            reason = " ".join(matcher.get_error().split())[:MESSAGE_CHARACTERS]
            raise ValueError(f"no text can be held to this json_schema: {reason}")
        return matcher

    @property
    def tokens(self) -> int:
        """How many tokens the tokenizer has."""
        return self._tokenizer.vocab_size

    @cached_property
    def _tokenizer(self) -> LLTokenizer:
        from llguidance.hf import from_tokenizer

        if not self.end_ids:
            raise ValueError("this model has no token that ends a text, so none can be held to a json_schema")
        try:
            return from_tokenizer(self._hf_tokenizer, eos_token=self.end_ids)
        except Exception as error:  # ValueError or whatever PyO3 makes of a tokenizer that it does not know
            raise ValueError(f"this model's tokenizer cannot be held to a json_schema: {error}") from error


class RowGrammar(LogitsProcessor):
    """Leaves the rows that have a grammar only the tokens that it lets pass.

    `failed` says why, of rows whose grammar has turned out to take too much to follow.
    """

    def __init__(self, rows: Sequence[Row], width: int, lengths: Sequence[int], grammars: Grammars) -> None:
        """`width` is the length of the padded prompts; `lengths` say how many of a row's tokens count."""
        self._matchers = {
            index: row.grammar.deep_copy() for index, row in enumerate(rows) if row.grammar is not None
        }
        self._width = width
        self._lengths = lengths
        self._grammars = grammars
        self.failed: dict[int, str] = {}

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """The scores [rows, vocabulary], with minus infinity for what a row may not draw."""
        if input_ids.shape[1] > self._width:
            self._take(input_ids[:, -1].tolist(), input_ids.shape[1] - self._width)
        if not self._matchers:
            return scores
        # Scores are made anew at each step, so that nobody misses them as they were.
        return scores.masked_fill_(~self._allowed(*scores.shape).to(scores.device), float("-inf"))

    def _take(self, newest: Sequence[int], written: int) -> None:
        """Move the grammars on by the tokens that were drawn, and forget those of rows that have ended."""
        for index, matcher in list(self._matchers.items()):
            if newest[index] in self._grammars.end_ids or written >= self._lengths[index]:
                del self._matchers[index]
            elif not matcher.consume_token(newest[index]):
                self.failed.setdefault(index, matcher.get_error())

    def _allowed(self, rows: int, vocabulary: int) -> Tensor:
        """Which tokens may come next, [rows, vocabulary] of bool, on the CPU."""
        from llguidance.numpy import allocate_token_bitmask, fill_next_token_bitmask_par

        masks = allocate_token_bitmask(len(self._matchers), self._grammars.tokens)
        in_order = [(matcher, place) for place, matcher in enumerate(self._matchers.values())]
        fill_next_token_bitmask_par(_threads(), in_order, masks)
        for index, matcher in self._matchers.items():
            if matcher.is_error():
                self.failed.setdefault(index, matcher.get_error())
        bits = np.unpackbits(masks.view(np.uint8), axis=1, bitorder="little")[:, :vocabulary]
        allowed = np.ones((rows, vocabulary), dtype=np.bool_)
        # A model may have more scores than its tokenizer has tokens.
        allowed[list(self._matchers)] = np.pad(bits, ((0, 0), (0, vocabulary - bits.shape[1])))
        return torch.from_numpy(allowed)


@cache
def _threads() -> LLExecutor:
    """What makes the masks of several rows at a time."""
    from llguidance import LLExecutor

    return LLExecutor()
