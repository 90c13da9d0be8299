"""What a request for a file means. Sync: routes call it in threads, since stores of files are slow."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from api.errors import Forbidden

if TYPE_CHECKING:
    from api.gateway import Gateway
    from db.blobs import Blobs

# What a download holds in memory.
CHUNK_BYTES = 1 << 20
# A model, or somebody's upload, has made these bytes: they may be looked at, and run nothing here.
HARMLESS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "sandbox; default-src 'none'; img-src 'self'; media-src 'self';"
    " style-src 'unsafe-inline'",
}


class InvalidBlobUrl(Forbidden):
    """The URL of this file is not one that this server has made."""


class ExpiredBlobUrl(Forbidden):
    """The URL of this file has expired."""


def seconds_left(gateway: Gateway, key: str, *, expires: str, signature: str) -> int:
    """For how long a URL is still good. Raises `InvalidBlobUrl` and `ExpiredBlobUrl`."""
    if not gateway.blob_urls.is_signed(key, expires=expires, signature=signature):
        raise InvalidBlobUrl("the signature is not valid: take the URL as the prediction shows it")
    seconds = int(expires) - int(time.time())
    if seconds <= 0:
        raise ExpiredBlobUrl("this URL has expired: get the prediction again, which shows a new one")
    return seconds


def chunks(blobs: Blobs, key: str, start: int, end: int) -> Iterator[bytes]:
    """The bytes from `start` to before `end`, a chunk at a time."""
    for position in range(start, end, CHUNK_BYTES):
        yield blobs.read(key, position, min(position + CHUNK_BYTES, end))
