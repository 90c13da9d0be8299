"""What the text in a file's field means: a URL, or the bytes themselves."""

from __future__ import annotations

import binascii
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from model_types.media.limits import MediaLimits, UnusableFile, check_size

_FROM_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_WHITE_SPACE = b" \t\r\n\f\v"


@dataclass(frozen=True, slots=True)
class Remote:
    """A file at an http(s) URL, to be fetched."""

    url: str


@dataclass(frozen=True, slots=True)
class Inline:
    """A file that came within the input."""

    data: bytes = field(repr=False)


def parse_reference(text: str, limits: MediaLimits) -> Remote | Inline:
    """What a file's field holds. What a `data:` URI says of its type is not believed, so not kept.

    Raises `UnusableFile` for what is neither, and for bytes that are too many.
    """
    scheme = text[:8].lower()
    if scheme.startswith(("http://", "https://")):
        return Remote(text)
    if scheme.startswith("data:"):
        return Inline(_within(_data_uri(text, limits), limits))
    try:
        return Inline(_within(_base64(text.encode(), limits), limits))
    except (binascii.Error, UnicodeEncodeError):
        raise UnusableFile("must be an http(s) URL, a data: URI, or the file's bytes in base64") from None


def _data_uri(text: str, limits: MediaLimits) -> bytes:
    """The bytes of a `data:` URI (RFC 2397)."""
    head, comma, body = text[len("data:") :].partition(",")
    if not comma:
        raise UnusableFile("is a data: URI without a comma before its data")
    if not head.lower().rstrip().endswith(";base64"):
        return unquote_to_bytes(body)
    try:
        return _base64(unquote_to_bytes(body) if "%" in body else body.encode(), limits)
    except (binascii.Error, UnicodeEncodeError):
        raise UnusableFile("is a data: URI whose data is not base64") from None


def _base64(text: bytes, limits: MediaLimits) -> bytes:
    """Bytes out of base64 (RFC 4648), standard or URL-safe, with or without padding and white space."""
    digits = text.translate(_FROM_URL_SAFE, _WHITE_SPACE).rstrip(b"=")
    # Four digits are three bytes; what is too long is not decoded first.
    check_size(len(digits) * 3 // 4, limits)
    return binascii.a2b_base64(digits + b"=" * (-len(digits) % 4), strict_mode=True)


def _within(data: bytes, limits: MediaLimits) -> bytes:
    check_size(len(data), limits)
    if not data:
        raise UnusableFile("is empty")
    return data
