"""How the vectors of a text's tokens become one: the poolings of sentence-transformers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


def weighted_mean(tokens: Tensor) -> Tensor:
    """The mean in which the n-th token counts n times (Muennighoff, SGPT, 2022)."""
    weights = torch.arange(1, len(tokens) + 1, device=tokens.device, dtype=tokens.dtype)
    return weights @ tokens / weights.sum()


# Each takes [tokens, dimensions] and gives [dimensions]. Where a card names several, their results are joined
# in this order.
POOLINGS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "cls": lambda tokens: tokens[0],
    "max": lambda tokens: tokens.amax(dim=0),
    "mean": lambda tokens: tokens.mean(dim=0),
    "mean_sqrt_len_tokens": lambda tokens: tokens.sum(dim=0) / len(tokens) ** 0.5,
    "weightedmean": weighted_mean,
    "lasttoken": lambda tokens: tokens[-1],
}
_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}


def poolings(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The poolings that the configuration of a Pooling module names, in the older or the newer way.

    Raises `KeyError` with the name of one that is not known here.
    """
    named = (
        config.get("pooling_mode") or [name for flag, name in _FLAGS.items() if config.get(flag)] or "mean"
    )
    names = (named,) if isinstance(named, str) else tuple(named)
    for name in names:
        POOLINGS[name]
    return names


def pool(tokens: Tensor, names: Sequence[str]) -> Tensor:
    """One vector, [poolings times dimensions], of a text's tokens, [tokens, dimensions]."""
    return torch.cat([POOLINGS[name](tokens) for name in names])
