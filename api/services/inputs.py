"""Files that come with a request: looked into before it is accepted, and stored where they are large."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs, urlsplit

from sqlalchemy.ext.asyncio import AsyncEngine

from api.errors import FieldError, Invalid
from api.file_urls import FILES_PATH
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
from db.ids import ID_LENGTH
from db.repositories import files
from db.repositories.transactions import read
from model_types.media import InputFile, MediaLimits, UnusableFile
from model_types.media.content import check
from model_types.media.fields import FieldPath
from model_types.media.limits import check_size
from model_types.media.references import Remote, parse_reference
from workers.addresses import ForbiddenUrl, check_url

log = logging.getLogger(__name__)

# So many requests have their files looked into at once: what is decoded takes memory.
THREADS = 2
_UPLOAD_PREFIX = "part:"
# Of any host, as this server has several names: the id is nobody else's, and its owner is asked for.
_FILE_URL = re.compile(rf"https?://[^?#]*{FILES_PATH}/([0-9a-v]{{{ID_LENGTH}}})(?:/download)?/?(?:[?#].*)?")


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

    def __init__(
        self, settings: GatewaySettings, engine: AsyncEngine, blobs: Blobs, blob_urls: BlobUrls
    ) -> None:
        self._settings = settings
        self._limits = settings.media_limits
        self._engine = engine
        self._blobs = blobs
        self._blob_urls = blob_urls
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="inputs")

    async def take(
        self, prediction_id: str, examined: Examined, uploads: Sequence[Upload] = (), *, owner_id: str
    ) -> Taken:
        """Look into the files that are there; those that are not are judged by their URLs.

        `uploads` are the ones that `placed` has put into the input, and `owner_id` is whose files from
        `POST /v1/files` it may name. Raises `Invalid`, naming each field as `input.<field>`, and
        `BlobStoreUnavailable`.
        """
        if not examined.files and not uploads:
            return Taken(examined.values, examined.values)
        by_reference = {f"{_UPLOAD_PREFIX}{number}": upload for number, upload in enumerate(uploads)}
        owned = await self._owned(examined, owner_id)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._threads, self._take, prediction_id, examined, by_reference, owned
        )

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

    async def _owned(self, examined: Examined, owner_id: str) -> Set[str]:
        """The ids of those uploaded files in the input that are this owner's."""
        urls = [_FILE_URL.fullmatch(file.reference) for _, file in examined.files]
        named = {url[1] for url in urls if url}
        if not named:
            return frozenset()
        found = await read(self._engine, lambda session: files.by_ids(session, owner_id, named))
        return {file.id for file in found}

    def _take(
        self, prediction_id: str, examined: Examined, uploads: Mapping[str, Upload], owned: Set[str]
    ) -> Taken:
        folder = folder_of("inputs", prediction_id)
        stored: dict[str, Blob] = {}
        errors = _misplaced(examined, uploads)
        for number, (path, file) in enumerate(examined.files):
            if file.reference in stored:
                continue
            try:
                blob = self._looked_into(file, uploads, owned, f"{folder}/{number}")
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
        return Taken(_renamed(examined, keys), _renamed(examined, digests), list(stored.values()))

    def _looked_into(
        self, file: InputFile, uploads: Mapping[str, Upload], owned: Set[str], name: str
    ) -> Blob | None:
        """What of a file is to be stored: nothing where it is small or elsewhere. Raises `UnusableFile`."""
        upload = uploads.get(file.reference)
        limits = self._limits.of(file.kind)
        data = upload.data if upload else self._kept(file.reference, owned, limits)
        is_small = False
        if data is None:
            parsed = parse_reference(file.reference, limits)
            if isinstance(parsed, Remote):
                self._check_remote(parsed.url)
                return None
            data = parsed.data
            is_small = len(data) <= self._settings.inline_input_bytes
        media_type = check(data, file.kind, limits)
        return None if is_small else Blob(with_extension(name, media_type), data)

    def _kept(self, reference: str, owned: Set[str], limits: MediaLimits) -> bytes | None:
        """What lies at a URL of this installation; None for any other reference. Raises `UnusableFile`."""
        if not reference[:8].lower().startswith(("http://", "https://")):
            return None
        if uploaded := _FILE_URL.fullmatch(reference):
            if uploaded[1] not in owned:
                raise UnusableFile("is not a file of yours that is kept here: it may have expired")
            return self._read(folder_of("files", uploaded[1]), limits)
        key = self._signed_key(reference)
        return None if key is None else self._read(key, limits)

    def _signed_key(self, url: str) -> str | None:
        """The key in a signed URL of a prediction's file. Raises `UnusableFile` for one that has expired."""
        try:
            parts = urlsplit(url)
        except ValueError:
            return None
        _, found, key = parts.path.partition(f"{BLOBS_PATH}/")
        query = parse_qs(parts.query)
        expires, signature = query.get("expires", [""])[0], query.get("signature", [""])[0]
        if not found or not self._blob_urls.is_signed(key, expires=expires, signature=signature):
            return None
        if int(expires) <= time.time():
            raise UnusableFile("is a URL that has expired: get the prediction again, which shows a new one")
        return key

    def _read(self, key: str, limits: MediaLimits) -> bytes:
        try:
            check_size(self._blobs.size_bytes(key), limits)
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


def _renamed(examined: Examined, names: Mapping[str, str]) -> dict[str, Any]:
    """A copy of the input with other names for some of its files; the same words elsewhere stay."""
    renamed = {path: names[file.reference] for path, file in examined.files if file.reference in names}

    def copy(value: Any, path: FieldPath) -> Any:
        if isinstance(value, str):
            return renamed.get(path, value)
        if isinstance(value, dict):
            return {name: copy(item, (*path, name)) for name, item in value.items()}
        if isinstance(value, list):
            return [copy(item, (*path, str(index))) for index, item in enumerate(value)]
        return value

    return {name: copy(item, (name,)) for name, item in examined.values.items()}
