"""Sampling with each row's own parameters and seed, so that no row's text depends on its batch-mates."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import LogitsProcessor

from model_types.text_generation.rows import Row

# Sorting a vocabulary of 49,000 costs 20 times what finding its 256 likeliest costs, and these nearly
# always hold the nucleus.
CANDIDATES = 256


class RowSampler(LogitsProcessor):
    """Draws each row's next token itself and leaves `generate` to take it greedily.

    The draw inverts the cumulative distribution in the vocabulary's order with one uniform number per token:
    a rounding difference between two batches then moves a token's edges, but never swaps two tokens. The
    uniforms come from a CPU generator per row: the same on every device, and in every place of a batch.
    """

    def __init__(self, rows: Sequence[Row], width: int, device: torch.device) -> None:
        """`width` is the length of the left-padded prompts."""

        def column(values: Sequence[float], dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.tensor(values, dtype=dtype, device=device)[:, None]

        self._width = width
        self._padding = column([width - len(row.ids) for row in rows], torch.long)
        self._greedy = column([row.greedy for row in rows], torch.bool)
        self._temperature = column([row.temperature or 1.0 for row in rows])
        self._penalty = column([row.repetition_penalty for row in rows])
        self._penalises = any(row.repetition_penalty != 1 for row in rows)
        self._top_p = column([row.top_p for row in rows])
        self._top_k = column([row.top_k or torch.iinfo(torch.long).max for row in rows], torch.long)
        self._restricts = any(not row.greedy and (row.top_p < 1 or row.top_k > 0) for row in rows)
        self._uniforms = _uniforms(rows).to(device)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores [rows, vocabulary] that leave each row only the token drawn for it."""
        if self._penalises:
            scores = self._penalised(input_ids, scores)
        uniform = self._uniforms[:, input_ids.shape[1] - self._width, None]
        drawn = self._draw(torch.softmax(scores / self._temperature, dim=-1), uniform)
        token = torch.where(self._greedy, scores.argmax(dim=-1, keepdim=True), drawn)
        return torch.full_like(scores, float("-inf")).scatter_(1, token, 0.0)

    def _penalised(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        # Padding is no text: where it stands, look at the prompt's last token a second time instead.
        is_padding = torch.arange(input_ids.shape[1], device=scores.device) < self._padding
        seen = torch.where(is_padding, input_ids[:, self._width - 1, None], input_ids)
        score = scores.gather(1, seen)
        score = torch.where(score < 0, score * self._penalty, score / self._penalty)
        return scores.scatter(1, seen, score)

    def _draw(self, probabilities: Tensor, uniform: Tensor) -> Tensor:
        if not self._restricts:
            return _invert(probabilities, uniform)
        candidates, ids = self._nucleus(probabilities)
        ids, order = ids.sort(dim=-1)
        return ids.gather(1, _invert(candidates.gather(1, order), uniform))

    def _nucleus(self, probabilities: Tensor) -> tuple[Tensor, Tensor]:
        """The likeliest tokens of each row, with 0 for those that its top_k or top_p rules out."""
        vocabulary = probabilities.shape[1]
        unlimited = self._top_k >= vocabulary
        candidates, ids = probabilities.topk(min(CANDIDATES, vocabulary))
        reached = torch.where(
            unlimited, candidates.sum(-1, keepdim=True) >= self._top_p, self._top_k <= CANDIDATES
        )
        if not (reached | self._greedy).all():
            candidates, ids = probabilities.sort(descending=True)
        rank = torch.arange(candidates.shape[1], device=candidates.device)
        candidates = candidates * (rank < self._top_k)
        # As everywhere, top_p is a share of what top_k has left.
        total = torch.where(unlimited, 1.0, candidates.sum(-1, keepdim=True))
        likelier = candidates.cumsum(-1) - candidates
        return candidates * (likelier < self._top_p * total), ids


def _uniforms(rows: Sequence[Row]) -> Tensor:
    """A number in [0, 1) for each token that may be drawn, [rows, tokens], on the CPU."""
    uniforms = torch.zeros(len(rows), max(row.max_new_tokens for row in rows))
    for row, place in zip(rows, uniforms, strict=True):
        generator = torch.Generator().manual_seed(row.seed)
        torch.rand(row.max_new_tokens, generator=generator, out=place[: row.max_new_tokens])
    return uniforms


def _invert(probabilities: Tensor, uniform: Tensor) -> Tensor:
    """The first column whose cumulated probability exceeds that share of the row's total, [rows, 1]."""
    cumulated = probabilities.cumsum(-1)
    return (cumulated > uniform * cumulated[:, -1:]).byte().argmax(dim=-1, keepdim=True)
