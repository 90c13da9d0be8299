"""URLs of streams: whoever has one may follow that prediction, without a token, until it expires."""

from __future__ import annotations

import hmac
import re
import time
from hashlib import sha256

from db.ids import ID_LENGTH

STREAMS_PATH = "/v1/streams"

URL_SECONDS = 24 * 3600
# A URL stays the same for this part of its life, so that a prediction looks the same twice.
_STEPS_PER_LIFE = 8
_TOKEN = re.compile(rf"([0-9a-v]{{{ID_LENGTH}}})-([0-9a-f]{{1,12}})-([0-9a-f]{{64}})", re.ASCII)


class StreamUrls:
    """Signs URLs with HMAC-SHA256, by a key made of the installation's secret for this purpose alone."""

    def __init__(self, secret_key: str, *, seconds: int = URL_SECONDS) -> None:
        """URLs are good for at least `seconds`, and for an eighth more at most."""
        self._key = hmac.digest(secret_key.encode(), b"augury:stream-urls", sha256)
        self._seconds = seconds
        self._step = max(1, seconds // _STEPS_PER_LIFE)

    def url(self, base_url: str, prediction_id: str, *, now: float | None = None) -> str:
        """The URL of a stream. `base_url` has no slash at its end, `now` is in seconds since 1970."""
        moment = time.time() if now is None else now
        expires = f"{int(moment // self._step + 1) * self._step + self._seconds:x}"
        signature = self._signature(prediction_id, expires)
        return f"{base_url}{STREAMS_PATH}/{prediction_id}-{expires}-{signature}"

    def prediction_of(self, token: str, *, now: float | None = None) -> str | None:
        """The prediction of a URL's last part; None where it is not one of ours, or has expired."""
        parts = _TOKEN.fullmatch(token)
        if parts is None:
            return None
        prediction_id, expires, signature = parts.groups()
        if not hmac.compare_digest(self._signature(prediction_id, expires), signature):
            return None
        moment = time.time() if now is None else now
        return prediction_id if moment < int(expires, 16) else None

    def _signature(self, prediction_id: str, expires: str) -> str:
        return hmac.digest(self._key, f"{prediction_id}\n{expires}".encode(), sha256).hex()
