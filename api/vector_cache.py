"""Vectors of texts that were embedded before, in this gateway's memory."""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Sequence
from hashlib import blake2b

# With so many digits a float32 is told from all others.
_FLOAT32_DIGITS = 9
_DIGEST_BYTES = 32


class VectorCache:
    """Keeps up to `max_entries` vectors; those not asked for the longest make room for new ones.

    Counts what was found and what was not, unless there is no room for any.
    """

    def __init__(self, max_entries: int) -> None:
        self._max_entries = max_entries
        self._vectors: OrderedDict[bytes, bytes] = OrderedDict()
        self.hits = 0
        self.misses = 0

    def get(self, key: bytes) -> bytes | None:
        vector = self._vectors.get(key)
        if vector is None:
            self.misses += self._max_entries > 0
            return None
        self._vectors.move_to_end(key)
        self.hits += 1
        return vector

    def put(self, key: bytes, vector: bytes) -> None:
        self._vectors[key] = vector
        self._vectors.move_to_end(key)
        if len(self._vectors) > self._max_entries:
            self._vectors.popitem(last=False)


def key_of(version_id: str, dimensions: int | None, text: str | Sequence[int]) -> bytes:
    """What stands for a text's vector by this version, cut to so many numbers.

    The ids of a text's tokens are another text than the same digits.
    """
    kind = "text" if isinstance(text, str) else "ids"
    # Half characters, which UTF-8 has no bytes for, are to be told apart too.
    question = f"{version_id}\0{dimensions}\0{kind}\0{text}".encode("utf-8", "surrogatepass")
    return blake2b(question, digest_size=_DIGEST_BYTES).digest()


def packed(vector: Sequence[float]) -> bytes:
    """The vector as little-endian float32."""
    return struct.pack(f"<{len(vector)}f", *vector)


def unpacked(vector: bytes) -> list[float]:
    """The numbers in a vector of little-endian float32, with no more digits than that takes."""
    numbers = struct.unpack(f"<{len(vector) // 4}f", vector)
    return [float(f"{number:.{_FLOAT32_DIGITS}g}") for number in numbers]
