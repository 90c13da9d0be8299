"""URLs by which anybody may download an uploaded file, as Replicate's API has them."""

from __future__ import annotations

import hmac
from base64 import b64encode
from hashlib import sha256
from urllib.parse import urlencode

FILES_PATH = "/v1/files"


class FileUrls:
    """Signs downloads: `signature` is the base64 of HMAC-SHA256 over `{owner} {id} {expiry}`.

    That is Replicate's formula (https://replicate.com/docs/reference/http#files.download). The key is made
    of the installation's secret for this purpose alone.
    """

    def __init__(self, secret_key: str) -> None:
        self._key = hmac.digest(secret_key.encode(), b"augury:file-urls", sha256)

    def download(self, base_url: str, *, owner: str, file_id: str, expiry: int) -> str:
        """The URL of a file's content, good until `expiry`, in seconds since 1970. `owner` is a username."""
        signed = {"owner": owner, "expiry": expiry, "signature": self._signature(owner, file_id, str(expiry))}
        return f"{base_url}{FILES_PATH}/{file_id}/download?{urlencode(signed)}"

    def is_signed(self, *, owner: str, file_id: str, expiry: str, signature: str) -> bool:
        """Whether a URL is one of ours; it may have expired."""
        expected = self._signature(owner, file_id, expiry)
        return hmac.compare_digest(expected.encode(), signature.encode("utf-8", "replace"))

    def _signature(self, owner: str, file_id: str, expiry: str) -> str:
        signed = f"{owner} {file_id} {expiry}".encode("utf-8", "replace")
        return b64encode(hmac.digest(self._key, signed, sha256)).decode()
