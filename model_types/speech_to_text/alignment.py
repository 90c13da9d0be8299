"""When each word was said, read from where the decoder looked while it wrote."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from model_types.speech_to_text.vocabulary import Vocabulary

# Written without spaces between words: every character counts as one.
UNSPACED = {"zh", "ja", "th", "lo", "my", "yue"}
REPLACEMENT = "\ufffd"


def token_ticks(attention: Tensor, filter_width: int) -> list[int]:
    """The tick at which each token begins, from where the decoder looked, [heads, tokens, ticks].

    The heads are those that follow the sound. What they give is made a share of each look, standardised over
    the tokens, smoothed over time by a median, and averaged; the path through it is found by dynamic time
    warping. So does OpenAI's implementation of Whisper.
    """
    shares = attention / attention.sum(dim=-1, keepdim=True)
    deviation, mean = torch.std_mean(shares, dim=1, keepdim=True, correction=0)
    scaled = (shares - mean) / deviation.clamp(min=1e-9)
    edge = filter_width // 2
    if edge < attention.shape[-1]:
        padded = torch.nn.functional.pad(scaled, (edge, edge), mode="reflect")
        scaled = padded.unfold(-1, filter_width, 1).median(dim=-1).values
    return path(-scaled.mean(dim=0).double().cpu().numpy())


def words(
    vocabulary: Vocabulary, ids: Sequence[int], ticks: Sequence[int], language: str
) -> list[tuple[int, int, str]]:
    """The words that `ids` spell, each with the ticks at which it begins and ends.

    `ticks` has one entry more than `ids`: where the text ends. Punctuation belongs to the word it touches.
    """
    found: list[tuple[int, int, str]] = []
    for begin, end, piece in _characters(vocabulary, ids):
        stands_alone = language in UNSPACED and any(character.isalnum() for character in piece)
        if found and not stands_alone and not piece.startswith(" "):
            start, _, word = found.pop()
            found.append((start, ticks[end], word + piece))
        else:
            found.append((ticks[begin], ticks[end], piece))
    return [(start, end, word.strip()) for start, end, word in found if word.strip()]


def _characters(vocabulary: Vocabulary, ids: Sequence[int]) -> list[tuple[int, int, str]]:
    """The shortest runs of tokens that decode to whole characters, as first token, last token + 1, text."""
    pieces = []
    begin = 0
    for end in range(1, len(ids) + 1):
        text = vocabulary.text(ids[begin:end])
        if not text.endswith(REPLACEMENT) or end == len(ids):
            pieces.append((begin, end, text))
            begin = end
    return pieces


def path(cost: np.ndarray[Any, np.dtype[np.float64]]) -> list[int]:
    """The column at which the cheapest monotone path through `cost` [rows, columns] enters each row."""
    rows, columns = cost.shape
    total = np.full((rows + 1, columns + 1), np.inf)
    total[0, 0] = 0
    came = np.zeros((rows + 1, columns + 1), dtype=np.int8)
    # Along a diagonal no cell needs another.
    for diagonal in range(2, rows + columns + 1):
        i = np.arange(max(1, diagonal - columns), min(rows, diagonal - 1) + 1)
        j = diagonal - i
        before = np.stack([total[i - 1, j - 1], total[i - 1, j], total[i, j - 1]])
        came[i, j] = before.argmin(axis=0)
        total[i, j] = cost[i - 1, j - 1] + before.min(axis=0)
    entered = [0] * rows
    i, j = rows, columns
    while i > 0 and j > 0:
        entered[i - 1] = j - 1
        step = came[i, j]
        i -= step != 2
        j -= step != 1
    return entered
