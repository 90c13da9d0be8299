"""Files that predictions took in or gave back, by the URLs that predictions show."""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import PurePosixPath

from fastapi import APIRouter, Request
from starlette.responses import Response, StreamingResponse

from api.access import Holder
from api.gateway import gateway_of
from api.services import blobs
from db.blob_urls import BLOBS_PATH
from db.blobs import media_type_of

router = APIRouter(prefix=BLOBS_PATH, tags=["files"])

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


class _Unsatisfiable(Exception):
    """The range that is asked for begins behind the file's end."""


@router.get(
    "/{key:path}",
    response_class=Response,
    responses={
        200: {"description": "The file.", "content": {"application/octet-stream": {}}},
        206: {"description": "The range that was asked for."},
        304: {"description": "`If-None-Match` names the file as it is."},
        403: {"description": "The signature is not valid, or the URL has expired."},
        416: {"description": "The range begins behind the file's end."},
    },
)
@router.head("/{key:path}", include_in_schema=False)
def fetch(request: Request, _: Holder, key: str, expires: str = "", signature: str = "") -> Response:
    """A file, or a range of its bytes (RFC 9110 §14). Whoever has the URL may fetch it, without a token."""
    gateway = gateway_of(request)
    seconds_left = blobs.seconds_left(gateway, key, expires=expires, signature=signature)
    size = gateway.blobs.size_bytes(key)
    # A key is written once, so it stands for its content.
    etag = f'"{sha256(key.encode()).hexdigest()[:32]}"'
    headers = blobs.HARMLESS | {
        "Accept-Ranges": "bytes",
        "Cache-Control": f"private, max-age={seconds_left}, immutable",
        "Content-Disposition": f'inline; filename="{PurePosixPath(key).name}"',
        "ETag": etag,
    }
    if etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    try:
        asked = _range(request, etag, size)
    except _Unsatisfiable:
        return Response(status_code=416, headers={"Content-Range": f"bytes */{size}"})
    start, end = asked or (0, size)
    if asked:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    headers |= {"Content-Length": str(end - start), "Content-Type": _content_type(key)}
    status = 206 if asked else 200
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers)
    return StreamingResponse(blobs.chunks(gateway.blobs, key, start, end), status, headers)


def _content_type(key: str) -> str:
    media_type = media_type_of(key)
    return f"{media_type}; charset=utf-8" if media_type.startswith("text/") else media_type


def _range(request: Request, etag: str, size: int) -> tuple[int, int] | None:
    """From which byte to before which; None for all, also where several ranges are asked for.

    Raises `_Unsatisfiable`.
    """
    asked = _RANGE.fullmatch(request.headers.get("range", ""))
    if asked is None or request.headers.get("if-range", etag) != etag:
        return None
    first, last = asked.groups()
    if not first:
        if not last:
            return None
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return None
    if start >= size:
        raise _Unsatisfiable
    return start, end
