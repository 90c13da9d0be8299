"""Stopping each row when it is due: at its own length, at its stop strings, or when it is cancelled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase, StoppingCriteria

from model_types.text_generation.rows import Row

# Decoding may drop a token or its leading space at the beginning of what it is given.
SPARE_TOKENS = 4


class RowStopping(StoppingCriteria):
    """Tells `generate` at every token which rows are done (the end-of-text token is its own business).

    `lengths` are how many of a row's tokens count: up to its stop string, or to its limit.
    """

    def __init__(
        self, rows: Sequence[Row], width: int, tokenizer: PreTrainedTokenizerBase, device: torch.device
    ) -> None:
        """`width` is the length of the left-padded prompts."""
        self._rows = rows
        self._width = width
        self._tokenizer = tokenizer
        self._limits = torch.tensor([width + row.max_new_tokens for row in rows], device=device)
        # A token is a byte at least, so this many reach back to where the stop string could have begun.
        self._tails = [
            max((len(stop.encode()) for stop in row.stop), default=0) + SPARE_TOKENS for row in rows
        ]
        self._stopped = torch.zeros(len(rows), dtype=torch.bool, device=device)
        self.lengths = [row.max_new_tokens for row in rows]

    def __call__(self, input_ids: Tensor, scores: Any, **_: Any) -> Tensor:
        """Which rows are done, [rows] of bool."""
        written = input_ids.shape[1] - self._width
        for index, row in enumerate(self._rows):
            if written >= self.lengths[index]:
                continue
            if row.cancelled or (row.stop and self._has_stop_string(index, row, input_ids)):
                self._stopped[index] = True
                self.lengths[index] = written
        return self._stopped | (input_ids.shape[1] >= self._limits)

    def _has_stop_string(self, index: int, row: Row, input_ids: Tensor) -> bool:
        written = input_ids[index, max(self._width, input_ids.shape[1] - self._tails[index]) :]
        tail = self._tokenizer.decode(written.tolist(), skip_special_tokens=True)
        return any(stop in tail for stop in row.stop)


def cut(text: str, stops: Sequence[str]) -> str:
    """The text up to the first of the stop strings, or all of it."""
    return text[: min((place for stop in stops if (place := text.find(stop)) >= 0), default=len(text))]
