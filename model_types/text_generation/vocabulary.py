"""The bytes that each token of a tokenizer stands for: a token may be a part of a character only."""

from __future__ import annotations

import json
import re
from typing import Any

# A byte that a tokenizer of SentencePiece's kind has no character for.
_BYTE = re.compile(r"<0x([0-9A-F]{2})>")


class Vocabulary:
    """The tokens of a tokenizer as bytes, each looked up once."""

    # Any: tokenizers have no common base that tells of their decoders.
    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._known: dict[int, bytes] = {}
        self._decoders: set[str] | None = None

    def __getitem__(self, token: int) -> bytes:
        if token not in self._known:
            self._known[token] = self._bytes(token)
        return self._known[token]

    def _bytes(self, token: int) -> bytes:
        if self._decoders is None:
            self._decoders = _decoders(self._tokenizer)
        written = self._tokenizer.convert_ids_to_tokens(token)
        # Models are padded to more tokens than there are.
        if written is None:
            return b""
        if token in self._tokenizer.added_tokens_decoder:
            return str(written).encode()
        if "ByteLevel" in self._decoders and all(sign in _BYTE_OF for sign in written):
            return bytes(_BYTE_OF[sign] for sign in written)
        if "ByteFallback" in self._decoders and (byte := _BYTE.fullmatch(written)):
            return bytes([int(byte[1], 16)])
        if {"Replace", "Metaspace"} & self._decoders:
            return str(written).replace("\N{LOWER ONE EIGHTH BLOCK}", " ").encode()
        return str(self._tokenizer.decode([token])).encode()


def _decoders(tokenizer: Any) -> set[str]:
    """The kinds of the tokenizer's decoders; none where it is not of the tokenizers library."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    decoder = json.loads(backend.to_str())["decoder"] if backend is not None else None
    steps = [] if decoder is None else decoder.get("decoders", [decoder])
    return {step["type"] for step in steps}


def _byte_signs() -> dict[str, int]:
    """The character that stands for each byte in vocabularies of GPT-2's kind.

    Bytes that print stand for themselves, the others for the characters from 256 on, in order
    (https://github.com/openai/gpt-2/blob/master/src/encoder.py, `bytes_to_unicode`).
    """
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(plain)]
    return {chr(byte): byte for byte in plain} | {chr(256 + n): byte for n, byte in enumerate(others)}


_BYTE_OF = _byte_signs()
