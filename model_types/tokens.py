"""Texts as the token ids that an encoder reads: cut off where its context ends, padded into tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

# A row's ids by the names under which its model takes them: `input_ids`, for some `token_type_ids`.
Encoding = Mapping[str, list[int]]

# Where nobody says how many a model can read.
MAX_TOKENS = 1 << 17


class Tokenizer:
    """A tokenizer of transformers that truncates; threads may share it."""

    def __init__(self, tokenizer: Any, config: Any, *, max_tokens: int | None = None) -> None:
        """`config` is the model's; `max_tokens` is the model card's own limit, special tokens included."""
        self._tokenizer = tokenizer
        known = (max_tokens, tokenizer.model_max_length, _positions(config), MAX_TOKENS)
        self.max_tokens = min(limit for limit in known if limit)
        self._last_id = config.get_text_config().vocab_size - 1
        self._names = list(self._called("warm up", None))
        # It has the truncation that this first call has set, and takes half the time of further calls.
        is_plain = tokenizer.is_fast and {"input_ids", "token_type_ids"}.issuperset(self._names)
        self._fast: Any = tokenizer.backend_tokenizer if is_plain else None

    def __call__(self, text: str, pair: str | None = None) -> Encoding:
        """The ids of a text, or of two that are read together: then the longer one is truncated first.

        Raises `ValueError` where nothing is left to read.
        """
        ids = self._called(text, pair) if self._fast is None else self._encoded(text, pair)
        if not ids["input_ids"]:
            raise ValueError("the text has no tokens")
        return ids

    def _called(self, text: str, pair: str | None) -> Encoding:
        return dict(
            self._tokenizer(
                text, pair, truncation=True, max_length=self.max_tokens, return_attention_mask=False
            )
        )

    def _encoded(self, text: str, pair: str | None) -> Encoding:
        encoding = self._fast.encode(text, pair)
        known = {"input_ids": encoding.ids, "token_type_ids": encoding.type_ids}
        return {name: known[name] for name in self._names}

    def of_ids(self, token_ids: Sequence[int]) -> Encoding:
        """A text that is told by the ids of its tokens, special ones included: nothing is added or cut off.

        Raises `ValueError` where the model does not know one of them, or cannot read as many.
        """
        count, largest = len(token_ids), max(token_ids)
        if largest > self._last_id:
            raise ValueError(
                f"token {largest} is not in this model's vocabulary, which ends at {self._last_id}"
            )
        if count > self.max_tokens:
            raise ValueError(f"{count} tokens are more than the {self.max_tokens} that this model can read")
        return {name: list(token_ids) if name == "input_ids" else [0] * count for name in self._names}

    def padded(self, rows: Sequence[Encoding], device: torch.device) -> dict[str, Tensor]:
        """What the model takes, each [rows, the longest row's tokens], padded on the right."""
        lengths = [size(row) for row in rows]
        width = max(lengths)
        pad_id = self._tokenizer.pad_token_id or 0
        tensors = {
            name: torch.tensor(
                [
                    row[name] + [pad_id if name == "input_ids" else 0] * (width - length)
                    for row, length in zip(rows, lengths, strict=True)
                ]
            )
            for name in rows[0]
        }
        tensors["attention_mask"] = (torch.arange(width) < torch.tensor(lengths)[:, None]).long()
        return {name: tensor.to(device) for name, tensor in tensors.items()}


def size(row: Encoding) -> int:
    """How many tokens a row has."""
    return len(row["input_ids"])


def first_position(config: Any) -> int:
    """The position of a text's first token: RoBERTa and its kin count from behind the padding's own."""
    counts_from_padding = config.model_type in ("camembert", "mpnet", "roberta", "xlm-roberta")
    return config.pad_token_id + 1 if counts_from_padding else 0


def _positions(config: Any) -> int | None:
    """How many tokens the model has positions for; None where there is no limit."""
    positions = getattr(config.get_text_config(), "max_position_embeddings", None)
    return None if positions is None or positions < 0 else positions - first_position(config)
