"""Uploaded files on the wire."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import BaseModel, Field
from starlette.requests import Request

from api.credentials import Principal
from api.file_urls import FILES_PATH
from api.gateway import gateway_of
from api.schemas.fields import Moment
from api.services.files import PURPOSES
from api.urls import base_url
from db.tables import File as FileRow

FORM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["content"],
    "properties": {
        "content": {"type": "string", "format": "binary", "description": "The file."},
        "filename": {"type": "string", "description": "Its name, where the part of the file has none."},
        "type": {"type": "string", "description": "Its media type, where the part of the file has none."},
        "metadata": {"type": "object", "description": "Anything that is to be kept with it."},
    },
}
# The same as OpenAI's clients write it.
OPENAI_FORM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["file", "purpose"],
    "properties": {
        "file": {"type": "string", "format": "binary", "description": "The file."},
        "purpose": {"enum": list(PURPOSES), "description": "`batch` for the input of a batch."},
        "expires_after[anchor]": {"const": "created_at"},
        "expires_after[seconds]": {"type": "integer", "description": "How long it is kept."},
    },
}


class Checksums(BaseModel):
    """Digests of a file's content, in hex."""

    sha256: str
    md5: str


class FileUrls(BaseModel):
    """Where a file is to be had: what is known of it, and its content, which needs no token."""

    get: str
    download: str


class File(BaseModel):
    """A file that was uploaded."""

    id: str = Field(examples=["01k7uhm8btejrqq2hd9a21rpoj"])
    name: str
    content_type: str
    size: int = Field(description="Bytes.")
    etag: str
    checksums: Checksums
    metadata: dict[str, Any]
    created_at: Moment
    expires_at: Moment
    urls: FileUrls

    @classmethod
    def of(cls, row: FileRow, owner: Principal, request: Request) -> Self:
        """A file as its owner sees it."""
        base = base_url(request)
        expiry = int(row.expires_at.timestamp())
        download = gateway_of(request).file_urls.download(
            base, owner=owner.username, file_id=row.id, expiry=expiry
        )
        return cls(
            id=row.id,
            name=row.name,
            content_type=row.content_type,
            size=row.size,
            etag=row.md5,
            checksums=Checksums(sha256=row.sha256, md5=row.md5),
            metadata=row.details,
            created_at=row.created_at,
            expires_at=row.expires_at,
            urls=FileUrls(get=f"{base}{FILES_PATH}/{row.id}", download=download),
        )


class FileObject(BaseModel):
    """A file as OpenAI's clients know it: so it is shown if it was uploaded for a purpose."""

    id: str
    object: Literal["file"] = "file"
    bytes: int
    created_at: int = Field(description="Seconds since 1970.")
    expires_at: int
    filename: str
    purpose: str
    status: Literal["processed"] = "processed"

    @classmethod
    def of(cls, row: FileRow) -> Self:
        return cls(
            id=row.id,
            bytes=row.size,
            created_at=int(row.created_at.timestamp()),
            expires_at=int(row.expires_at.timestamp()),
            filename=row.name,
            purpose=row.purpose or "user_data",
        )


class FilePage(BaseModel):
    """A page of files, the newest first: `results` are for Replicate's clients, `data` for OpenAI's."""

    results: list[File]
    next: str | None
    previous: str | None
    object: Literal["list"] = "list"
    data: list[FileObject]
    first_id: str | None
    last_id: str | None
    has_more: bool


class FileDeleted(BaseModel):
    """A file that was uploaded for a purpose is gone."""

    id: str
    object: Literal["file"] = "file"
    deleted: Literal[True] = True
