"""Telling what rows write, token by token, to those who listen."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import StoppingCriteria

from model_types.text_generation.measuring import RowMeasuring
from model_types.text_generation.pieces import Piece, TokenLogprob
from model_types.text_generation.rows import Row

# What a decoder makes of bytes that are no character, or not yet one.
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
# So many tokens are decoded again with each new one, at most, before the older half of them is left behind.
WINDOW_TOKENS = 16
# So many tokens without a whole character at the end are no text: their row tells no more.
MAX_BROKEN_TOKENS = 64


class RowTelling(StoppingCriteria):
    """Sees each token of `generate`, stops nothing, and tells the texts of rows that are listened to.

    `pieces` are, by row, the texts of those that ask for logprobs.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        width: int,
        decode: Callable[[list[int]], str],
        end_ids: Collection[int],
        device: torch.device,
        measuring: RowMeasuring | None = None,
    ) -> None:
        """`width` is the length of the left-padded prompts; without `measuring` no row has logprobs."""
        self._rows = rows
        self._width = width
        self._decode = decode
        self._end_ids = end_ids
        self._texts: dict[int, GrowingText] = {}
        self._measuring = measuring
        self.pieces = {
            index: GrowingPieces(row, decode, end_ids)
            for index, row in enumerate(rows)
            if measuring is not None and row.logprobs is not None
        }
        self._nobody_stops = torch.zeros(len(rows), dtype=torch.bool, device=device)

    def __call__(self, input_ids: Tensor, scores: Any, **_: Any) -> Tensor:
        """No row is done on this account, [rows] of bool."""
        if any(text.is_open for text in self._texts.values()):
            newest = input_ids[:, -1].tolist()
            for index, text in self._texts.items():
                text.add([newest[index]])
        for index, row in enumerate(self._rows):
            if row.tell is not None and index not in self._texts and index not in self.pieces:
                self._texts[index] = GrowingText(row, self._decode, self._end_ids)
                self._texts[index].add(input_ids[index, self._width :].tolist())
        if self._measuring is not None:
            for index, (token, measured) in self._measuring.of(input_ids[:, -1]).items():
                self.pieces[index].take(token, measured)
        return self._nobody_stops


class GrowingText:
    """One row's text while it is written. It tells what will stand in the final text, and nothing else.

    So it holds back incomplete characters, what may be the beginning of a stop string, and the blanks at the
    end where the final text has none. What it holds back at last is not told at all.
    """

    def __init__(self, row: Row, decode: Callable[[list[int]], str], end_ids: Collection[int]) -> None:
        self._row = row
        self._decode = decode
        self._end_ids = end_ids
        self._tokens_left = row.max_new_tokens
        self._window = row.context
        self._seen = decode(self._window)
        self._settled_tokens = len(self._window)
        self._unsure = ""
        self._blanks = row.beginning
        self._told = 0
        # In characters: what is decoded, what no stop string can reach, and the blanks that have been let go.
        self._decoded_to = 0
        self._passed_to = 0
        self._skipped = 0
        self._is_cut = False
        self.is_open = True

    def add(self, ids: Sequence[int]) -> None:
        """Take the tokens that are new, those after the text's end included."""
        if not self.is_open:
            return
        ends = [place for place, token in enumerate(ids) if token in self._end_ids]
        new = ids[: min([*ends, self._tokens_left])]
        self._tokens_left -= len(new)
        self._window = [*self._window, *new]
        self._pass_stops(self._decoded())
        if len(new) < len(ids) or not self._tokens_left:
            self.is_open = False

    def _decoded(self) -> str:
        """What the new tokens have added to the text; nothing while its end is not a whole character."""
        text = self._decode(self._window)
        if text.endswith(REPLACEMENT):
            self.is_open = len(self._window) - self._settled_tokens < MAX_BROKEN_TOKENS
            return ""
        if not text.startswith(self._seen):
            # With more around it the beginning reads differently: this is no text to be read piece by piece.
            self.is_open = False
            return ""
        added = text[len(self._seen) :]
        if len(self._window) > WINDOW_TOKENS:
            self._window = self._window[self._settled_tokens :]
            text = self._decode(self._window)
        self._settled_tokens = len(self._window)
        self._seen = text
        return added

    def _pass_stops(self, text: str) -> None:
        """Pass on what no stop string can cut off any more."""
        self._unsure += text
        self._decoded_to += len(text)
        stops = self._row.stop
        places = [place for stop in stops if (place := self._unsure.find(stop)) >= 0]
        if places:
            self._is_cut = True
            self.is_open = False
            end = min(places)
        else:
            end = len(self._unsure) - max((_overlap(self._unsure, stop) for stop in stops), default=0)
        self._passed_to += end
        self._pass_blanks(self._unsure[:end])
        self._unsure = self._unsure[end:]

    def _pass_blanks(self, text: str) -> None:
        """Pass on what stays when blanks are taken off both ends, where they are."""
        if self._row.is_stripped:
            text = self._blanks + text
            if not self._told:
                self._skipped += len(text) - len(text.lstrip())
                text = text.lstrip()
            stripped = text.rstrip()
            self._blanks = text[len(stripped) :]
            text = stripped
        if text:
            self._release(text)
            self._told += len(text)

    def _release(self, text: str) -> None:
        if self._row.tell is not None:
            self._row.tell(self._told, text)


class GrowingPieces(GrowingText):
    """One row's text in pieces, each with the tokens that it was written in; those are told."""

    def __init__(self, row: Row, decode: Callable[[list[int]], str], end_ids: Collection[int]) -> None:
        super().__init__(row, decode, end_ids)
        self._pieces: list[Piece] = []
        self._heard = 0
        # Tokens that are in no piece yet, each with where its text begins.
        self._waiting: list[tuple[int, TokenLogprob]] = []
        self._taken = 0
        self._has_ended = False

    def take(self, token: int, measured: TokenLogprob) -> None:
        """Take the next token; those after the text's end are let go."""
        if self._has_ended or token in self._end_ids:
            self._has_ended = True
            return
        self._waiting.append((self._decoded_to, measured))
        self.add([token])
        self._taken += 1
        self._has_ended = self._is_cut or self._taken == self._row.max_new_tokens
        if self._row.tell is not None:
            for place, piece in enumerate(self._pieces[self._heard :], self._heard):
                self._row.tell(place, piece)
            self._heard = len(self._pieces)

    def whole(self, text: str) -> list[Piece]:
        """The pieces that make up this text, which is the final one."""
        # Of a token that a stop string begins in the middle of, there is something in the text.
        rest = [each for each in self._waiting if not self._is_cut or each[0] < self._passed_to]
        told = "".join(piece.text for piece in self._pieces)
        if not text.startswith(told):
            # Decoded together the tokens read differently.
            tokens = [token for piece in self._pieces for token in piece.tokens]
            return [Piece(text=text, tokens=tokens + self._placed(rest))]
        last = Piece(text=text[len(told) :], tokens=self._placed(rest))
        return [*self._pieces, last] if last.text or last.tokens else self._pieces

    def _release(self, text: str) -> None:
        """Make a piece of a text that is sure, with those tokens that are wholly in it."""
        ends = [start for start, _ in self._waiting[1:]] + [self._decoded_to]
        count = 0
        for (start, _), end in zip(self._waiting, ends, strict=True):
            if end > self._passed_to or start == self._passed_to:
                break
            count += 1
        self._pieces.append(Piece(text=text, tokens=self._placed(self._waiting[:count])))
        self._waiting = self._waiting[count:]

    def _placed(self, tokens: Sequence[tuple[int, TokenLogprob]]) -> list[TokenLogprob]:
        """The tokens with where they begin in the text, which may have lost blanks."""
        return [token.model_copy(update={"offset": max(0, start - self._skipped)}) for start, token in tokens]


def _overlap(text: str, stop: str) -> int:
    """How many characters at the end of a text may be the beginning of a stop string that is not in it."""
    longest = min(len(stop) - 1, len(text))
    return next((length for length in range(longest, 0, -1) if text.endswith(stop[:length])), 0)
