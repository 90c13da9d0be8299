"""Blobs: files in and files out, kept as bytes in a directory or in an S3 bucket.

A key is `predictions/<era>/<prediction id>/…` or `inputs/<era>/<prediction id>/…`, the era being the first
characters of the id, which begin with its time: a folder holds what some nine hours have brought. A key is
written once, and the type of what lies there is told by its extension. An upload is `files/<era>/<its id>`;
its row tells its type.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path, PurePosixPath
from secrets import token_hex
from shutil import copyfileobj
from typing import Any, Literal, Protocol

from db.errors import NotFound, StorageUnavailable
from db.settings import BlobSettings

Kind = Literal["predictions", "inputs", "files"]

# In the JSON of a prediction this stands before the key of a file in its place.
REFERENCE_PREFIX = "blob:"
ERA_LENGTH = 5
MAX_KEY_LENGTH = 512
_PART = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")

# What the gateway says of a file; the first extension of a type is the one that new names get.
MEDIA_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".gif": "image/gif",
    ".bmp": "image/bmp",
    ".tiff": "image/tiff",
    ".tif": "image/tiff",
    ".svg": "image/svg+xml",
    ".wav": "audio/wav",
    ".flac": "audio/flac",
    ".mp3": "audio/mpeg",
    ".ogg": "audio/ogg",
    ".aiff": "audio/aiff",
    ".weba": "audio/webm",
    ".m4a": "audio/mp4",
    ".mp4": "video/mp4",
    ".webm": "video/webm",
    ".txt": "text/plain",
    ".csv": "text/csv",
    ".vtt": "text/vtt",
    ".json": "application/json",
    ".pdf": "application/pdf",
    ".zip": "application/zip",
}
OTHER_MEDIA_TYPE = "application/octet-stream"

# So that a store that is away costs seconds, not minutes: botocore's own timeouts are of a minute each.
_S3_CONFIG = {"connect_timeout": 3, "read_timeout": 20, "retries": {"max_attempts": 1}}
_S3_RETRIES = 2
# S3 takes no smaller parts than 5 MiB of a file that comes in several.
_S3_PART_BYTES = 8 << 20
_COPIED_BYTES = 1 << 20


class Readable(Protocol):
    """What bytes are read from: a file, or something like it."""

    def read(self, size: int = -1, /) -> bytes: ...


class InvalidKey(ValueError):
    """A blob's key consists of plain names between slashes: letters, digits, `.`, `_` and `-`."""


class BlobNotFound(NotFound):
    """There is no such file, or not any more."""


class BlobStoreUnavailable(StorageUnavailable):
    """The store of files cannot be reached, or refuses."""


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes to be stored under a key."""

    key: str
    data: bytes = field(repr=False)


def folder_of(kind: Kind, prediction_id: str) -> str:
    """Where a prediction's files lie; a slash and a name make it a key. An upload's own id makes its key."""
    return f"{kind}/{prediction_id[:ERA_LENGTH]}/{prediction_id}"


def key_of(reference: str, kind: Kind, prediction_id: str) -> str | None:
    """The key in a string such as `blob:predictions/…`, if it is of a file of this prediction's own."""
    key = reference.removeprefix(REFERENCE_PREFIX)
    if len(key) == len(reference) or not key.startswith(folder_of(kind, prediction_id) + "/"):
        return None
    return key if is_key(key) else None


def is_key(text: str) -> bool:
    """Whether this may be a blob's key; nothing like that leads out of the store."""
    return len(text) <= MAX_KEY_LENGTH and all(_PART.fullmatch(part) for part in text.split("/"))


def media_type_of(name: str) -> str:
    """The media type that a file's name tells; application/octet-stream where it tells none."""
    return MEDIA_TYPES.get(PurePosixPath(name).suffix.lower(), OTHER_MEDIA_TYPE)


def with_extension(name: str, media_type: str) -> str:
    """The name, with the extension of this type added unless it tells the type already."""
    if media_type_of(name) == media_type:
        return name
    return name + next((suffix for suffix, known in MEDIA_TYPES.items() if known == media_type), "")


class Blobs:
    """The store. Sync, and safe from any thread; opens nothing until it is used.

    All methods raise `InvalidKey` and `BlobStoreUnavailable`.
    """

    def __init__(self, settings: BlobSettings) -> None:
        # It reads the environment when it is imported.
        from fsspec.core import url_to_fs

        self.is_local = not settings.blob_store.startswith("s3://")
        # An instance of its own: shared ones remember listings, and belong to whoever forked us.
        options: dict[str, Any] = {"skip_instance_cache": True, "use_listings_cache": False}
        if not self.is_local:
            options["config_kwargs"] = _S3_CONFIG
        self._files, self._root = url_to_fs(settings.blob_store, **options)
        if not self.is_local:
            self._files.retries = _S3_RETRIES

    def put(self, key: str, data: bytes) -> None:
        """Store bytes: whoever reads finds all of them or nothing."""
        path = self._path(key)
        with self._storing(key):
            if self.is_local:
                _write(Path(path), BytesIO(data))
            else:
                self._files.pipe_file(path, data, ContentType=media_type_of(key))

    def put_from(self, key: str, source: Readable) -> None:
        """`put` what `source` has left to read, a chunk at a time."""
        path = self._path(key)
        with self._storing(key):
            if self.is_local:
                _write(Path(path), source)
            else:
                _upload(self._files.open(path, "wb", block_size=_S3_PART_BYTES), source)

    def size_bytes(self, key: str) -> int:
        """How long a file is. Raises `BlobNotFound`."""
        with self._reaching(key):
            info = self._files.info(self._path(key))
            if info["type"] != "file":
                raise FileNotFoundError(key)
            return int(info["size"])

    def read(self, key: str, start: int = 0, end: int | None = None) -> bytes:
        """The bytes from `start` to before `end`, both within the file. Raises `BlobNotFound`."""
        with self._reaching(key):
            data: bytes = self._files.cat_file(self._path(key), start=start or None, end=end)
            return data

    def names(self, folder: str = "") -> list[str]:
        """What lies in a folder, files and folders, in order; nothing where there is no such folder."""
        path = self._path(folder) if folder else self._root
        try:
            with self._reaching(folder):
                found = self._files.ls(path, detail=False)
        except BlobNotFound:
            return []
        # S3 may list a folder in itself, and a directory holds what is just being written.
        names = {PurePosixPath(one).name for one in found if one.rstrip("/") != path}
        return sorted(name for name in names if _PART.fullmatch(name))

    def delete(self, prefix: str) -> None:
        """Delete a file, or a folder with all that is in it; what is not there needs no deletion."""
        with suppress(BlobNotFound), self._reaching(prefix):
            self._files.rm(self._path(prefix), recursive=True)

    def _path(self, key: str) -> str:
        if not is_key(key):
            raise InvalidKey(f"{key[:100]!r} is no name of a file: use letters, digits, '.', '_' and '-'")
        return f"{self._root}/{key}"

    @contextmanager
    def _storing(self, key: str) -> Iterator[None]:
        try:
            with self._reaching(key):
                yield
        except BlobNotFound:
            raise BlobStoreUnavailable("there is no such bucket") from None

    @contextmanager
    def _reaching(self, key: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise BlobNotFound(f"there is no file {key!r}") from None
        except InvalidKey:
            raise
        except Exception as error:  # S3's libraries have no common class for theirs
            raise BlobStoreUnavailable(f"{type(error).__name__}: {error}") from error


def _write(path: Path, source: Readable) -> None:
    """Write, make durable, and only then give it its name: the row that tells of it is durable too."""
    unfinished = path.with_name(f".{path.name}.{token_hex(8)}")  # a name that no key has
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with unfinished.open("xb") as file:
            copyfileobj(source, file, _COPIED_BYTES)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except BaseException:  # an interruption too: nobody else would sweep it
        unfinished.unlink(missing_ok=True)
        raise


def _upload(target: Any, source: Readable) -> None:
    """Copy to a file of s3fs. One that is closed is there, so what breaks off is discarded before."""
    try:
        copyfileobj(source, target, _COPIED_BYTES)
        target.close()
    except BaseException:  # an interruption too: half a file must not be stored
        target.closed = True
        target.discard()
        raise
