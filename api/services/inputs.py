"""Files that come with a request: looked into before it is accepted, and stored where they are large."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs, urlsplit

from api.errors import FieldError, Invalid
from api.services.input_schema import Examined, InputValidator
from api.settings import GatewaySettings
from db.blob_urls import BLOBS_PATH, BlobUrls
from db.blobs import (
    REFERENCE_PREFIX,
    Blob,
    BlobNotFound,
    Blobs,
    BlobStoreUnavailable,
    folder_of,
    with_extension,
)
from model_types.media import InputFile, UnusableFile
from model_types.media.content import check
from model_types.media.limits import check_size
from model_types.media.references import Remote, parse_reference
from workers.addresses import ForbiddenUrl, check_url

log = logging.getLogger(__name__)

# So many requests have their files looked into at once: what is decoded takes memory.
THREADS = 2
_UPLOAD_PREFIX = "part:"


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that came beside the JSON of a request, for the input's field of this name."""

    name: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Taken:
    """An input whose files have passed.

    `values` is the input as it is stored, `identity` the same with digests of the files' content in the
    place of their names, and `blobs` is what `values` names and is still to be stored.
    """

    values: dict[str, Any]
    identity: dict[str, Any]
    blobs: Sequence[Blob] = ()


def placed(values: dict[str, Any], uploads: Sequence[Upload], validator: InputValidator) -> dict[str, Any]:
    """The input with references to its uploads; several for one field are a list. Raises `Invalid`."""
    filled = dict(values)
    for number, upload in enumerate(uploads):
        reference = f"{_UPLOAD_PREFIX}{number}"
        present = filled.get(upload.name, [])
        if isinstance(present, list) and validator.takes_list(upload.name):
            filled[upload.name] = [*present, reference]
        elif upload.name in filled:
            raise Invalid([(f"input.{upload.name}", "is given more than once")])
        else:
            filled[upload.name] = reference
    return filled


class InputFiles:
    """Takes the files of inputs in."""

    def __init__(self, settings: GatewaySettings, blobs: Blobs, blob_urls: BlobUrls) -> None:
        self._settings = settings
        self._limits = settings.media_limits
        self._blobs = blobs
        self._blob_urls = blob_urls
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="inputs")

    async def take(self, prediction_id: str, examined: Examined, uploads: Sequence[Upload] = ()) -> Taken:
        """Look into the files that are there; those that are not are judged by their URLs.

        `uploads` are the ones that `placed` has put into the input. Raises `Invalid`, naming each field
        as `input.<field>`, and `BlobStoreUnavailable`.
        """
        if not examined.files and not uploads:
            return Taken(examined.values, examined.values)
        by_reference = {f"{_UPLOAD_PREFIX}{number}": upload for number, upload in enumerate(uploads)}
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._take, prediction_id, examined, by_reference)

    async def store(self, taken: Taken) -> None:
        """Store what the input names. Raises `BlobStoreUnavailable`."""
        for blob in taken.blobs:
            await asyncio.to_thread(self._blobs.put, blob.key, blob.data)

    async def discard(self, prediction_id: str, taken: Taken) -> None:
        """Delete what was stored for a prediction that there will not be; what stays is swept one day."""
        if taken.blobs:
            try:
                await asyncio.to_thread(self._blobs.delete, folder_of("inputs", prediction_id))
            except BlobStoreUnavailable as error:
                log.warning("the files of %s are left behind: %s", prediction_id, error)

    def close(self) -> None:
        self._threads.shutdown(cancel_futures=True)

    def _take(self, prediction_id: str, examined: Examined, uploads: Mapping[str, Upload]) -> Taken:
        folder = folder_of("inputs", prediction_id)
        stored: dict[str, Blob] = {}
        errors = _misplaced(examined, uploads)
        for number, (path, file) in enumerate(examined.files):
            if file.reference in stored:
                continue
            try:
                blob = self._looked_into(file, uploads, f"{folder}/{number}")
            except UnusableFile as error:
                errors.append((".".join(("input", *path)), str(error)))
                continue
            if blob is not None:
                stored[file.reference] = blob
        if errors:
            raise Invalid(errors)
        if not stored:
            return Taken(examined.values, examined.values)
        keys = {reference: REFERENCE_PREFIX + blob.key for reference, blob in stored.items()}
        digests = {reference: f"sha256:{sha256(blob.data).hexdigest()}" for reference, blob in stored.items()}
        values, identity = _renamed(examined.values, keys), _renamed(examined.values, digests)
        return Taken(values, identity, list(stored.values()))

    def _looked_into(self, file: InputFile, uploads: Mapping[str, Upload], name: str) -> Blob | None:
        """What of a file is to be stored: nothing where it is small or elsewhere. Raises `UnusableFile`."""
        upload = uploads.get(file.reference)
        data = upload.data if upload else self._own(file.reference)
        is_small = False
        if data is None:
            parsed = parse_reference(file.reference, self._limits)
            if isinstance(parsed, Remote):
                self._check_remote(parsed.url)
                return None
            data = parsed.data
            is_small = len(data) <= self._settings.inline_input_bytes
        media_type = check(data, file.kind, self._limits)
        return None if is_small else Blob(with_extension(name, media_type), data)

    def _own(self, reference: str) -> bytes | None:
        """What lies at a URL that this installation has signed; None for any other reference."""
        if not reference[:8].lower().startswith(("http://", "https://")):
            return None
        try:
            parts = urlsplit(reference)
        except ValueError:
            return None
        _, found, key = parts.path.partition(f"{BLOBS_PATH}/")
        query = parse_qs(parts.query)
        expires, signature = query.get("expires", [""])[0], query.get("signature", [""])[0]
        if not found or not self._blob_urls.is_signed(key, expires=expires, signature=signature):
            return None
        if int(expires) <= time.time():
            raise UnusableFile("is a URL that has expired: get the prediction again, which shows a new one")
        try:
            check_size(self._blobs.size_bytes(key), self._limits)
            return self._blobs.read(key)
        except BlobNotFound:
            raise UnusableFile("is not kept here any more") from None

    def _check_remote(self, url: str) -> None:
        if not self._settings.allow_remote_inputs:
            raise UnusableFile("is a URL, and this server fetches none: send the file along")
        try:
            check_url(url, self._settings.input_allow_cidrs)
        except ForbiddenUrl as error:
            raise UnusableFile(str(error)) from None


def _misplaced(examined: Examined, uploads: Mapping[str, Upload]) -> list[FieldError]:
    """Uploads for fields that take something else: to them, a reference is any text."""
    used = {file.reference for _, file in examined.files}
    return [
        (f"input.{upload.name}", "does not take a file")
        for reference, upload in uploads.items()
        if reference not in used
    ]


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    """A copy of JSON with other names for some of its strings."""
    if isinstance(value, str):
        return names.get(value, value)
    if isinstance(value, dict):
        return {name: _renamed(item, names) for name, item in value.items()}
    if isinstance(value, list):
        return [_renamed(item, names) for item in value]
    return value
