"""Uploaded files: kept in the store for some hours, to be named in the inputs of predictions."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import md5, sha256
from typing import IO, TYPE_CHECKING, Any, Literal, get_args

from api.credentials import Principal
from api.errors import BodyTooLarge, Forbidden
from db.blobs import BlobStoreUnavailable, folder_of
from db.errors import Conflict, NotFound
from db.ids import ID_LENGTH, new_id
from db.repositories import files
from db.repositories.keyset import Cursor
from db.repositories.transactions import read, write
from db.tables import File

if TYPE_CHECKING:
    from api.gateway import Gateway

log = logging.getLogger(__name__)


# What OpenAI's clients may upload files for: the input of a batch, and anything else.
Purpose = Literal["batch", "user_data"]
PURPOSES: Sequence[Purpose] = get_args(Purpose)
# What the files are for that a batch ends with.
OUTPUT_PURPOSE: Literal["batch_output"] = "batch_output"


class FileInUse(Conflict):
    """The file is the input of a batch that has not ended."""


class InvalidFileUrl(Forbidden):
    """The URL of this file is not one that this server has made, or has expired."""


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file to be kept; `size` is in bytes. With a purpose it is shown as OpenAI's clients know files."""

    content: IO[bytes]
    size: int
    name: str
    content_type: str
    metadata: dict[str, Any] = field(default_factory=dict)
    purpose: Purpose | Literal["batch_output"] | None = None
    lifetime_seconds: int | None = None


@dataclass(slots=True)
class _Digesting:
    """A file whose bytes go into its digests as they are read."""

    source: IO[bytes]
    sha256: Any = field(default_factory=sha256)
    md5: Any = field(default_factory=lambda: md5(usedforsecurity=False))

    def read(self, size: int = -1, /) -> bytes:
        data = self.source.read(size)
        self.sha256.update(data)
        self.md5.update(data)
        return data


async def add(gateway: Gateway, principal: Principal, new: NewFile) -> File:
    """Keep a file. Raises `BodyTooLarge` and `BlobStoreUnavailable`."""
    settings = gateway.settings
    limit_bytes = settings.batch_file_bytes if new.purpose == "batch" else settings.file_limit_bytes
    if new.size > limit_bytes:
        raise BodyTooLarge(limit_bytes)
    file = await stored(gateway, principal.id, new)
    try:
        async with write(gateway.engine) as session:
            await files.add(session, file)
    except Exception:  # no row tells of it now; what an interruption leaves is swept
        with suppress(BlobStoreUnavailable):
            await asyncio.to_thread(gateway.blobs.delete, folder_of("files", file.id))
        raise
    return file


async def stored(gateway: Gateway, owner_id: str, new: NewFile) -> File:
    """A file whose content is kept from now on, and whose row is still to be added, or it is swept.

    Raises `BlobStoreUnavailable`.
    """
    file_id, content, now = new_id(), _Digesting(new.content), datetime.now(UTC)
    await asyncio.to_thread(gateway.blobs.put_from, folder_of("files", file_id), content)
    hours = (
        gateway.settings.file_hours
        if new.purpose in (None, "user_data")
        else gateway.settings.batch_file_hours
    )
    lifetime = timedelta(seconds=new.lifetime_seconds) if new.lifetime_seconds else timedelta(hours=hours)
    return File(
        id=file_id,
        owner_id=owner_id,
        name=new.name,
        content_type=new.content_type,
        size=new.size,
        sha256=content.sha256.hexdigest(),
        md5=content.md5.hexdigest(),
        details=new.metadata,
        purpose=new.purpose,
        created_at=now,
        expires_at=now + lifetime,
    )


async def browse(
    gateway: Gateway,
    principal: Principal,
    *,
    limit: int,
    cursor: Cursor | None,
    purpose: str | None = None,
    ascending: bool = False,
) -> list[File]:
    """`limit` + 1 of the caller's files from the cursor outwards, those for one purpose if that is given."""
    return await read(
        gateway.engine,
        lambda session: files.browse(
            session, principal.id, limit=limit, cursor=cursor, purpose=purpose, ascending=ascending
        ),
    )


async def get(gateway: Gateway, principal: Principal, file_id: str) -> File:
    """A file of the caller's own. Raises `NotFound`."""
    file = await _found(gateway, file_id)
    if file.owner_id != principal.id:
        raise _not_found(file_id)
    return file


async def delete(gateway: Gateway, principal: Principal, file_id: str) -> File:
    """Delete a file of the caller's own, and return what it was; predictions that have it keep it.

    Raises `NotFound` and `FileInUse`.
    """
    file = await get(gateway, principal, file_id)
    async with write(gateway.engine) as session:
        if not await files.remove(session, principal.id, file_id):
            raise FileInUse("a batch that has not ended reads this file")
    try:
        await asyncio.to_thread(gateway.blobs.delete, folder_of("files", file_id))
    except BlobStoreUnavailable as error:
        log.warning("the content of file %s is left behind, to be swept: %s", file_id, error)
    return file


async def signed(gateway: Gateway, file_id: str, *, owner: str, expiry: str, signature: str) -> File:
    """The file that a signed URL is of. Raises `InvalidFileUrl` and `NotFound`."""
    if not gateway.file_urls.is_signed(owner=owner, file_id=file_id, expiry=expiry, signature=signature):
        raise InvalidFileUrl("the signature is not valid: take the URL as the file shows it")
    if int(expiry) <= time.time():
        raise InvalidFileUrl("this URL has expired")
    return await _found(gateway, file_id)


async def _found(gateway: Gateway, file_id: str) -> File:
    if len(file_id) != ID_LENGTH or not file_id.isalnum():
        raise _not_found(file_id)
    file = await read(gateway.engine, lambda session: files.by_id(session, file_id))
    if file is None:
        raise _not_found(file_id)
    return file


def _not_found(file_id: str) -> NotFound:
    return NotFound(f"there is no file {file_id!r}")
