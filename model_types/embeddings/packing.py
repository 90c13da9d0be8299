"""Rows of all lengths end to end in one sequence, each attending to itself alone: nothing is padded.

Everything but attention looks at one token at a time, so a pass costs what its tokens cost. On one CPU thread
MiniLM runs rows in the order of their arrival as fast like this as padded rows that were sorted by length
over a queue of hundreds.

The layers are those of BERT (https://arxiv.org/abs/1810.04805) with the weights that transformers has loaded.
Why not its own: docs/decisions/0018-packed-encoder.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module, ModuleList, Parameter
from torch.nn.functional import layer_norm, linear, scaled_dot_product_attention

from model_types.tokens import Encoding, first_position, size

# Models that take positions as an input, and whose tokens all attend to each other. On an accelerator one
# kernel call per row and layer would cost more than padding does.
PACKABLE = frozenset({"bert", "camembert", "distilbert", "roberta", "xlm-roberta"})


def is_packable(config: Any, device: str) -> bool:
    """Whether a model of this configuration gives each row of a pack what it would give it alone."""
    return device == "cpu" and config.model_type in PACKABLE and not getattr(config, "is_decoder", False)


class PackedEncoder(Module):
    """A loaded encoder of transformers, taken apart: its embeddings as they are, its layers as ours."""

    def __init__(self, model: Any) -> None:
        """`model` is an `AutoModel` of a configuration that `is_packable`; it is of no use afterwards."""
        super().__init__()
        self.config, self.device, self.dtype = model.config, model.device, model.dtype
        self._first_position = first_position(model.config)
        self._has_types = hasattr(model.config, "type_vocab_size")
        self.embeddings = model.embeddings
        is_distil = model.config.model_type == "distilbert"
        layers = model.transformer.layer if is_distil else model.encoder.layer
        self.layers = ModuleList()
        while layers:  # one by one, so that the weights are never there twice
            self.layers.append(_from_distilbert(layers[0]) if is_distil else _from_bert(layers[0]))
            del layers[0]

    def forward(self, rows: Sequence[Encoding]) -> Sequence[Tensor]:
        """The last hidden states of each row, [tokens, dimensions]."""
        lengths = [size(row) for row in rows]
        names = ("input_ids", "token_type_ids") if self._has_types else ("input_ids",)
        ids = {name: _end_to_end(rows, name) for name in names if name in rows[0]}
        starts = self._first_position
        positions = torch.cat([torch.arange(starts, starts + length) for length in lengths])[None]
        (states,) = self.embeddings(**ids, position_ids=positions)
        for layer in self.layers:
            states = layer(states, lengths)
        last: Sequence[Tensor] = states.split_with_sizes(lengths)
        return last


class _Layer(Module):
    """Attention of each row to itself, then a network for each token alone, each added and normalised."""

    def __init__(
        self,
        heads: int,
        projections: Sequence[Any],
        out: Any,
        norm: Any,
        up: Any,
        activation: Any,
        down: Any,
        last_norm: Any,
    ) -> None:
        """`projections` are those of the queries, the keys and the values; here they are one."""
        super().__init__()
        self.heads = heads
        self.weight = _constant(torch.cat([one.weight for one in projections]))
        self.bias = _constant(torch.cat([one.bias for one in projections]))
        self.out, self.norm, self.up, self.activation = out, norm, up, activation
        self.down, self.last_norm = down, last_norm

    def forward(self, states: Tensor, lengths: Sequence[int]) -> Tensor:
        """[tokens, dimensions] → the same."""
        attended = _attend(linear(states, self.weight, self.bias), self.heads, lengths)
        states = _normalised(states + linear(attended, self.out.weight, self.out.bias), self.norm)
        inner = self.activation(linear(states, self.up.weight, self.up.bias))
        return _normalised(states + linear(inner, self.down.weight, self.down.bias), self.last_norm)


def _attend(projected: Tensor, heads: int, lengths: Sequence[int]) -> Tensor:
    """[tokens, 3 x dimensions], queries, keys and values, → [tokens, dimensions]."""
    # [3, 1, heads, tokens, dimensions of a head]
    every = projected.view(len(projected), 3, 1, heads, -1).permute(1, 2, 3, 0, 4)
    rows = every.split_with_sizes(lengths, dim=3)
    return torch.cat([scaled_dot_product_attention(*row)[0].transpose(0, 1).flatten(1) for row in rows])


def _from_bert(layer: Any) -> _Layer:
    """A layer of BERT, RoBERTa, XLM-RoBERTa or CamemBERT."""
    attention, after = layer.attention.self, layer.attention.output
    return _Layer(
        attention.num_attention_heads,
        (attention.query, attention.key, attention.value),
        after.dense,
        after.LayerNorm,
        layer.intermediate.dense,
        layer.intermediate.intermediate_act_fn,
        layer.output.dense,
        layer.output.LayerNorm,
    )


def _from_distilbert(layer: Any) -> _Layer:
    attention, ffn = layer.attention, layer.ffn
    return _Layer(
        attention.n_heads,
        (attention.q_lin, attention.k_lin, attention.v_lin),
        attention.out_lin,
        layer.sa_layer_norm,
        ffn.lin1,
        ffn.activation,
        ffn.lin2,
        layer.output_layer_norm,
    )


def _normalised(states: Tensor, norm: Any) -> Tensor:
    return layer_norm(states, norm.normalized_shape, norm.weight, norm.bias, norm.eps)


def _constant(weights: Tensor) -> Parameter:
    return Parameter(weights.detach(), requires_grad=False)


def _end_to_end(rows: Sequence[Encoding], name: str) -> Tensor:
    return torch.tensor([id for row in rows for id in row[name]])[None]
