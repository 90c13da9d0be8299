"""The form that an upload comes in, as each of Replicate's and OpenAI's clients writes it.

OpenAI's send the file as the part `file`, beside a `purpose`, all others as `content`. Replicate's for Python
1.x has its metadata in a field with JSON, that for JavaScript in a part of its own with JSON, and that for
Python 2.x in a field for each value, called `metadata[key]`, beside `filename` and `type`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import msgspec
from starlette.datastructures import FormData, UploadFile

from api.errors import Invalid
from api.services.files import PURPOSES, NewFile, Purpose

MAX_NAME_BYTES = 255
MAX_TYPE_LENGTH = 255
MAX_METADATA_BYTES = 64 * 1024
MAX_METADATA_DEPTH = 8
OTHER_TYPE = "application/octet-stream"
_TYPE = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+( *;[ -~]*)?", re.ASCII)
_METADATA = re.compile(r"metadata((?:\[[^\[\]]*\])+)")
_KEY = re.compile(r"\[([^\[\]]*)\]")
_FIELDS = ("content", "filename", "type", "metadata")
_OPENAI_FIELDS = ("file", "purpose", "expires_after[anchor]", "expires_after[seconds]")
# As long as OpenAI keeps files at least and at most.
MIN_LIFETIME_SECONDS, MAX_LIFETIME_SECONDS = 3600, 30 * 24 * 3600


async def read_form(parts: FormData) -> NewFile:
    """What is to be kept. Its content is the part's, and is closed with the form. Raises `Invalid`."""
    known = _OPENAI_FIELDS if "purpose" in parts else _FIELDS
    for name in parts:
        if name not in known and not _METADATA.fullmatch(name):
            raise Invalid([(name, f"is not a known part: there are {', '.join(known)}")])
    content = _single(parts, known[0])
    if not isinstance(content, UploadFile):
        raise Invalid([(known[0], "is required, as a file: a part with a filename")])
    return NewFile(
        content=content.file,
        size=content.size or 0,
        name=_name(_text(parts, "filename") or content.filename or "file"),
        content_type=_content_type(_text(parts, "type") or content.content_type or OTHER_TYPE),
        metadata=await _metadata(parts),
        purpose=_purpose(parts),
        lifetime_seconds=_lifetime_seconds(parts),
    )


def _purpose(parts: FormData) -> Purpose | None:
    given = _text(parts, "purpose")
    if given is None:
        return None
    for purpose in PURPOSES:
        if purpose == given:
            return purpose
    raise Invalid([("purpose", f"must be one of {', '.join(PURPOSES)}")])


def _lifetime_seconds(parts: FormData) -> int | None:
    anchor, seconds = (_text(parts, f"expires_after[{name}]") for name in ("anchor", "seconds"))
    if anchor is None and seconds is None:
        return None
    if anchor != "created_at":
        raise Invalid([("expires_after[anchor]", "must be created_at")])
    lifetime = int(seconds) if seconds and seconds.isascii() and seconds.isdigit() and len(seconds) < 9 else 0
    if not MIN_LIFETIME_SECONDS <= lifetime <= MAX_LIFETIME_SECONDS:
        message = f"must be {MIN_LIFETIME_SECONDS} to {MAX_LIFETIME_SECONDS}"
        raise Invalid([("expires_after[seconds]", message)])
    return lifetime


def _single(parts: FormData, name: str) -> str | UploadFile | None:
    given = parts.getlist(name)
    if len(given) > 1:
        raise Invalid([(name, "is given more than once")])
    return given[0] if given else None


def _text(parts: FormData, name: str) -> str | None:
    given = _single(parts, name)
    if isinstance(given, UploadFile):
        raise Invalid([(name, "must be text, not a file")])
    return given


def _name(name: str) -> str:
    if len(name.encode()) > MAX_NAME_BYTES or not name.isprintable():
        raise Invalid([("filename", f"must have at most {MAX_NAME_BYTES} bytes, of printable characters")])
    return name


def _content_type(content_type: str) -> str:
    if len(content_type) > MAX_TYPE_LENGTH or not _TYPE.fullmatch(content_type):
        raise Invalid([("type", "must be a media type, such as image/png")])
    return content_type


async def _metadata(parts: FormData) -> dict[str, Any]:
    given = _single(parts, "metadata")
    text = await given.read() if isinstance(given, UploadFile) else (given or "{}").encode()
    if len(text) > MAX_METADATA_BYTES:
        raise _metadata_too_long()
    try:
        metadata = msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Invalid([("metadata", "must be a JSON object")]) from None
    for name, value in parts.multi_items():
        if path := _METADATA.fullmatch(name):
            if isinstance(value, UploadFile):
                raise Invalid([(name, "must be text, not a file")])
            _put(metadata, name, _KEY.findall(path[1]), value)
    if len(json.dumps(metadata)) > MAX_METADATA_BYTES:
        raise _metadata_too_long()
    return metadata


def _metadata_too_long() -> Invalid:
    return Invalid([("metadata", f"is longer than {MAX_METADATA_BYTES} bytes")])


def _put(metadata: dict[str, Any], name: str, path: Sequence[str], value: str) -> None:
    """Put the value of `metadata[a][b]` under `a` and `b`; that of `metadata[a][]` at the end of a list."""
    names = path if path[-1] else path[:-1]
    if not names or "" in names or len(path) > MAX_METADATA_DEPTH:
        raise Invalid([(name, "is no name for a value: send metadata as JSON")])
    *parents, last = names
    place = metadata
    for key in parents:
        place = place.setdefault(key, {})
        if not isinstance(place, dict):
            raise Invalid([(name, "is a part of what is a value already")])
    known = place.get(last)
    if not path[-1] and isinstance(known, list | None):
        place[last] = [*(known or ()), value]
    elif path[-1] and last not in place:
        place[last] = value
    else:
        raise Invalid([(name, "is given more than once")])
