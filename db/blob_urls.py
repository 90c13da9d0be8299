"""URLs of files: whoever has one may fetch that file, without a token, until it expires."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from db.blobs import Kind, key_of

BLOBS_PATH = "/v1/blobs"

# A URL stays the same for this part of its life, so that caches know it again.
_STEPS_PER_LIFE = 8
# Files lie no deeper in an output; JSON of a thousand levels shall not exhaust the stack.
_MAX_DEPTH = 64


class BlobUrls:
    """Signs URLs with HMAC-SHA256, by a key made of the installation's secret for this purpose alone."""

    def __init__(self, secret_key: str, *, seconds: int) -> None:
        """URLs are good for at least `seconds`, and for an eighth more at most."""
        self._key = hmac.digest(secret_key.encode(), b"augury:blob-urls", sha256)
        self._seconds = seconds
        self._step = max(1, seconds // _STEPS_PER_LIFE)

    def url(self, base_url: str, key: str, *, now: float | None = None) -> str:
        """The URL of a blob. `base_url` has no slash at its end, `now` is in seconds since 1970."""
        moment = time.time() if now is None else now
        expires = int(moment // self._step + 1) * self._step + self._seconds
        signature = self._signature(key, str(expires))
        return f"{base_url}{BLOBS_PATH}/{key}?expires={expires}&signature={signature}"

    def is_signed(self, key: str, *, expires: str, signature: str) -> bool:
        """Whether a URL is one of ours; it may have expired (`expires` is in seconds since 1970)."""
        expected = self._signature(key, expires)
        return hmac.compare_digest(expected.encode(), signature.encode("utf-8", "replace"))

    def rendered(self, value: Any, kind: Kind, prediction_id: str, *, base_url: str) -> Any:
        """JSON with URLs in place of references to this prediction's own files; others stay text."""
        return replaced(value, kind, prediction_id, lambda key: self.url(base_url, key))

    def _signature(self, key: str, expires: str) -> str:
        return hmac.digest(self._key, f"{key}\n{expires}".encode("utf-8", "replace"), sha256).hex()


def replaced(value: Any, kind: Kind, prediction_id: str, shown: Callable[[str], str]) -> Any:
    """JSON with `shown(key)` in place of each reference to one of this prediction's own files."""

    def copy(value: Any, depth: int) -> Any:
        if isinstance(value, str):
            key = key_of(value, kind, prediction_id)
            return value if key is None else shown(key)
        if depth == _MAX_DEPTH or not value:
            return value
        if isinstance(value, dict):
            return {name: copy(item, depth + 1) for name, item in value.items()}
        if isinstance(value, list) and not _is_vector(value):
            return [copy(item, depth + 1) for item in value]
        return value

    return copy(value, 0)


def _is_vector(items: list[Any]) -> bool:
    """Whether these are numbers only. Embeddings are long, and no other way to tell is as fast."""
    try:
        sum(items)
    except (TypeError, OverflowError):
        return False
    return True
