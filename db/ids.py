"""Time-ordered ids: UUIDv7 (RFC 9562) as 26 lowercase base32 characters that sort as the bits do."""

import re
from datetime import UTC, datetime, timedelta

from uuid_utils import uuid7

# base32hex (RFC 4648 §7) in lower case: the one base32 alphabet whose text order is the bits' order.
_ALPHABET = "0123456789abcdefghijklmnopqrstuv"
_PAIRS = [a + b for a in _ALPHABET for b in _ALPHABET]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ID_LENGTH = 26
_ID = re.compile(rf"[{_ALPHABET}]{{{ID_LENGTH}}}")


def new_id() -> str:
    """An id that sorts after those made in earlier milliseconds."""
    return _encode(uuid7().int)


def floor_id(moment: datetime) -> str:
    """The lowest id that a row made at `moment` can have; `moment` must carry a time zone."""
    return _encode(max(0, (moment - _EPOCH) // timedelta(milliseconds=1)) << 80)


def time_of(identifier: str) -> datetime:
    """When this id was made, to the millisecond. Raises `ValueError` for what is not an id."""
    if not _ID.fullmatch(identifier):
        raise ValueError(f"an id has {ID_LENGTH} characters of {_ALPHABET}")
    try:
        return _EPOCH + timedelta(milliseconds=int(identifier, 32) >> 80)
    except OverflowError as error:
        raise ValueError("no id is made after the year 9999") from error


def _encode(value: int) -> str:
    return "".join([_PAIRS[value >> shift & 1023] for shift in range(120, -1, -10)])
