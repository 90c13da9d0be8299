"""The parts of a multipart body, files among them on disk."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Request, status
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException

from api.errors import Invalid


@asynccontextmanager
async def form_parts(
    request: Request, *, max_files: int, max_fields: int, max_field_bytes: int
) -> AsyncIterator[FormData]:
    """The parts; their files are closed when the block ends. Raises `Invalid`."""
    try:
        parts = await request.form(max_files=max_files, max_fields=max_fields, max_part_size=max_field_bytes)
    except HTTPException as error:
        if error.status_code != status.HTTP_400_BAD_REQUEST:
            raise
        raise Invalid([("body", f"is no form that can be read: {error.detail}")]) from None
    try:
        yield parts
    finally:
        await parts.close()
