"""Files that clients upload once and name in inputs, as Replicate's API has them."""

from __future__ import annotations

from operator import attrgetter
from urllib.parse import quote

from fastapi import APIRouter, Request, status
from starlette.responses import Response, StreamingResponse

from api.access import Creator, Reader
from api.auth import authenticate
from api.file_urls import FILES_PATH
from api.forms import form_parts
from api.gateway import gateway_of
from api.limits import RouteClass, limit
from api.pages import MAX_LIMIT, CursorQuery, LimitQuery, Page, page
from api.schemas.files import FORM_SCHEMA, File, FilePage
from api.services import blobs, files
from api.services.file_form import MAX_METADATA_BYTES, read_form
from db.blobs import folder_of

router = APIRouter(prefix=FILES_PATH, tags=["files"])

MAX_FIELDS = 256
MAX_FILES = 8


@router.post(
    "",
    status_code=status.HTTP_201_CREATED,
    response_model=File,
    openapi_extra={
        "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": FORM_SCHEMA}}},
        "security": [{"HTTPBearer": []}],
    },
)
async def create(request: Request) -> File:
    """Upload a file, to name its URL in inputs; it is kept for some hours."""
    principal = await authenticate(request)
    await limit(request, principal, RouteClass.CREATE)
    async with form_parts(
        request, max_files=MAX_FILES, max_fields=MAX_FIELDS, max_field_bytes=MAX_METADATA_BYTES
    ) as parts:
        file = await files.add(gateway_of(request), principal, await read_form(parts))
    return File.of(file, principal, request)


@router.get("", response_model=FilePage)
async def browse(
    request: Request, principal: Reader, cursor: CursorQuery, limit: LimitQuery = MAX_LIMIT
) -> Page:
    """One's own files, the newest first."""
    rows = await files.browse(gateway_of(request), principal, limit=limit, cursor=cursor)
    shown = [File.of(row, principal, request) for row in rows]
    return page(request, shown, limit=limit, cursor=cursor, key=attrgetter("id"))


@router.get("/{file_id}")
async def get(request: Request, principal: Reader, file_id: str) -> File:
    """What is known of a file of one's own."""
    return File.of(await files.get(gateway_of(request), principal, file_id), principal, request)


@router.delete("/{file_id}", status_code=status.HTTP_204_NO_CONTENT)
async def delete(request: Request, principal: Creator, file_id: str) -> None:
    """Delete a file of one's own. Predictions that were asked for with it keep what they need."""
    await files.delete(gateway_of(request), principal, file_id)


@router.get(
    "/{file_id}/download",
    response_class=Response,
    responses={200: {"description": "The file.", "content": {"application/octet-stream": {}}}},
)
async def download(
    request: Request, file_id: str, owner: str = "", expiry: str = "", signature: str = ""
) -> Response:
    """A file's content: for whoever has its signed URL, and for its owner without a signature."""
    gateway = gateway_of(request)
    if signature:
        await limit(request, None, RouteClass.READ)
        file = await files.signed(gateway, file_id, owner=owner, expiry=expiry, signature=signature)
    else:
        principal = await authenticate(request)
        await limit(request, principal, RouteClass.READ)
        file = await files.get(gateway, principal, file_id)
    headers = blobs.HARMLESS | {
        "Content-Length": str(file.size),
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(file.name, safe='')}",
        "ETag": f'"{file.sha256}"',
    }
    chunks = blobs.chunks(gateway.blobs, folder_of("files", file.id), 0, file.size)
    return StreamingResponse(chunks, headers=headers, media_type="application/octet-stream")
