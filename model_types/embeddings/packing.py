"""Rows of all lengths end to end in one sequence, each attending to itself alone: nothing is padded.

Everything but attention looks at one token at a time, so a pass costs what its tokens cost. On one CPU thread
MiniLM runs rows in the order of their arrival as fast like this as padded rows that were sorted by length
over a queue of hundreds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from model_types.tokens import Encoding, first_position, size

ATTENTION = "packed"
# Models that take positions as an input, and whose tokens all attend to each other. On an accelerator one
# kernel call per row and layer would cost more than padding does.
PACKABLE = frozenset({"bert", "camembert", "distilbert", "roberta", "xlm-roberta"})


def is_packable(config: Any, device: str) -> bool:
    """Whether a model of this configuration gives each row of a pack what it would give it alone."""
    return device == "cpu" and config.model_type in PACKABLE and not getattr(config, "is_decoder", False)


def hidden_states(model: Any, rows: Sequence[Encoding]) -> Sequence[Tensor]:
    """The last hidden states of each row, [tokens, dimensions], of a model loaded with `ATTENTION`."""
    lengths = [size(row) for row in rows]
    first = first_position(model.config)
    packed = {name: torch.tensor([id for row in rows for id in row[name]])[None] for name in rows[0]}
    positions = torch.cat([torch.arange(first, first + length) for length in lengths])[None]
    output = model(**packed, position_ids=positions, row_lengths=lengths).last_hidden_state
    states: Sequence[Tensor] = output[0].split_with_sizes(lengths)
    return states


def _attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    row_lengths: Sequence[int],
    scaling: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention of each row to itself: [1, heads, tokens, dimensions] → [1, tokens, heads, dimensions]."""
    if len(row_lengths) == 1:
        alone = scaled_dot_product_attention(query, key, value, scale=scaling)
        return alone.transpose(1, 2).contiguous(), None
    parts = zip(*(tensor.split_with_sizes(row_lengths, dim=2) for tensor in (query, key, value)), strict=True)
    attended = [scaled_dot_product_attention(q, k, v, scale=scaling) for q, k, v in parts]
    return torch.cat(attended, dim=2).transpose(1, 2).contiguous(), None


AttentionInterface.register(ATTENTION, _attend)
