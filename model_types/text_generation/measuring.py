"""Measuring how likely tokens were, of the rows that ask for it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import LogitsProcessor

from model_types.text_generation.pieces import Likelihood, TokenLogprob
from model_types.text_generation.rows import Row
from model_types.text_generation.vocabulary import Vocabulary

# What stands for a probability of 0, which has no logarithm.
LEAST_LOGPROB = -9999.0
# More hang on who shared the batch.
DECIMALS = 4


class RowMeasuring(LogitsProcessor):
    """Looks at each step's scores before anything changes them, and tells of the tokens drawn from them."""

    def __init__(self, rows: Sequence[Row], vocabulary: Vocabulary, device: torch.device) -> None:
        self._tops = {index: row.logprobs for index, row in enumerate(rows) if row.logprobs is not None}
        self._asking = torch.tensor(list(self._tops), dtype=torch.long, device=device)
        self._vocabulary = vocabulary
        self._logprobs = torch.empty(0)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """The scores [rows, vocabulary], as they are."""
        self._logprobs = torch.log_softmax(scores[self._asking], dim=-1)
        return scores

    def of(self, drawn: Tensor) -> dict[int, tuple[int, TokenLogprob]]:
        """When the step has drawn these tokens [rows]: by row, its token and what was measured of it.

        Where they stand in their texts, others know.
        """
        tokens = drawn[self._asking, None]
        top = self._logprobs.topk(min(max(self._tops.values()), self._logprobs.shape[1]))
        ids = torch.cat([tokens, top.indices], dim=1).tolist()
        values = torch.cat([self._logprobs.gather(1, tokens), top.values], dim=1).tolist()
        return {
            index: (own[0], self._measured(own, logprobs, count))
            for (index, count), own, logprobs in zip(self._tops.items(), ids, values, strict=True)
        }

    def _measured(self, tokens: Sequence[int], logprobs: Sequence[float], count: int) -> TokenLogprob:
        """Of the first of the tokens, with so many of the others, which are the likeliest."""
        own, *others = (
            Likelihood(
                token=(data := self._vocabulary[token]).decode(errors="replace"),
                logprob=round(max(logprob, LEAST_LOGPROB), DECIMALS),
                bytes=list(data),
            )
            for token, logprob in zip(tokens[: count + 1], logprobs, strict=False)
        )
        return TokenLogprob(**dict(own), offset=0, top_logprobs=others)
