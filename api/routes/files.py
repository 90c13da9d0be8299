"""Files that clients upload once and name in inputs, as Replicate's API has them, and OpenAI's for batches.

One that was uploaded for a `purpose` is shown as OpenAI's clients know files, and any other as Replicate's.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Query, Request, status
from starlette.responses import Response, StreamingResponse

from api.access import Creator, Reader
from api.auth import Principal, authenticate
from api.compat.openai.errors import error_answer
from api.errors import ERROR_SHAPE
from api.file_urls import FILES_PATH
from api.forms import form_parts
from api.gateway import Gateway, gateway_of
from api.limits import RouteClass, limit
from api.pages import MAX_LIMIT, AfterQuery, CursorQuery, listed, page
from api.schemas.files import FORM_SCHEMA, OPENAI_FORM_SCHEMA, File, FileDeleted, FileObject, FilePage
from api.services import blobs, files
from api.services.file_form import MAX_METADATA_BYTES, read_form
from db.blobs import folder_of
from db.tables import File as FileRow

router = APIRouter(prefix=FILES_PATH, tags=["files"])

MAX_FIELDS = 256
MAX_FILES = 8
ListLimit = Annotated[
    int, Query(ge=1, le=10_000, description=f"Results per page; there are {MAX_LIMIT} at most.")
]


@router.post(
    "",
    status_code=status.HTTP_201_CREATED,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"multipart/form-data": {"schema": {"anyOf": [FORM_SCHEMA, OPENAI_FORM_SCHEMA]}}},
        },
        "security": [{"HTTPBearer": []}],
    },
)
async def create(request: Request) -> File | FileObject:
    """Upload a file, to name its URL in inputs or its id in a batch; it is kept for some time."""
    principal = await authenticate(request)
    await limit(request, principal, RouteClass.CREATE)
    async with form_parts(
        request, max_files=MAX_FILES, max_fields=MAX_FIELDS, max_field_bytes=MAX_METADATA_BYTES
    ) as parts:
        if "purpose" in parts:
            request.scope[ERROR_SHAPE] = error_answer
        file = await files.add(gateway_of(request), principal, await read_form(parts))
    return _shown(file, principal, request)


def _shown(file: FileRow, owner: Principal, request: Request) -> File | FileObject:
    return File.of(file, owner, request) if file.purpose is None else FileObject.of(file)


@router.get("", response_model=FilePage)
async def browse(
    request: Request,
    principal: Reader,
    cursor: CursorQuery,
    after: AfterQuery,
    limit: ListLimit = MAX_LIMIT,
    order: Literal["asc", "desc"] = "desc",
    purpose: str | None = None,
) -> dict[str, Any]:
    """One's own files, the newest first. `after`, `order` and `purpose` are how OpenAI's clients ask."""
    limit, cursor, is_ascending = min(limit, MAX_LIMIT), cursor or after, order == "asc"
    rows = await files.browse(
        gateway_of(request), principal, limit=limit, cursor=cursor, purpose=purpose, ascending=is_ascending
    )
    shown = page(request, rows, limit=limit, cursor=cursor, key=attrgetter("id"))
    return {
        **shown,
        "results": [File.of(row, principal, request) for row in shown["results"]],
        **listed(shown["results"], FileObject.of, has_more=len(rows) > limit),
    }


@router.get("/{file_id}")
async def get(request: Request, principal: Reader, file_id: str) -> File | FileObject:
    """What is known of a file of one's own."""
    return _shown(await files.get(gateway_of(request), principal, file_id), principal, request)


@router.delete(
    "/{file_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    response_class=Response,
    responses={200: {"model": FileDeleted, "description": "For a file that was uploaded for a purpose."}},
)
async def delete(request: Request, principal: Creator, file_id: str) -> Response:
    """Delete a file of one's own. Predictions that were asked for with it keep what they need."""
    file = await files.delete(gateway_of(request), principal, file_id)
    if file.purpose is None:
        return Response(status_code=status.HTTP_204_NO_CONTENT)
    return Response(FileDeleted(id=file.id).model_dump_json(), media_type="application/json")


@router.get(
    "/{file_id}/content",
    response_class=Response,
    responses={200: {"description": "The file.", "content": {"application/octet-stream": {}}}},
)
async def content(request: Request, principal: Reader, file_id: str) -> Response:
    """The content of a file of one's own, where OpenAI's clients look for it."""
    request.scope[ERROR_SHAPE] = error_answer
    gateway = gateway_of(request)
    return _content(gateway, await files.get(gateway, principal, file_id))


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
    return _content(gateway, file)


def _content(gateway: Gateway, file: FileRow) -> Response:
    headers = blobs.HARMLESS | {
        "Content-Length": str(file.size),
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(file.name, safe='')}",
        "ETag": f'"{file.sha256}"',
    }
    chunks = blobs.chunks(gateway.blobs, folder_of("files", file.id), 0, file.size)
    return StreamingResponse(chunks, headers=headers, media_type="application/octet-stream")
