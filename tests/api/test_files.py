"""Files that are uploaded, listed, downloaded and deleted, by the forms that Replicate's clients write."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from hashlib import md5, sha256
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.api.asking import scalar
from tests.api.conftest import BASE_URL, Serve, Served

pytestmark = pytest.mark.anyio

Headers = dict[str, str]
CONTENT = b"abc\r\n--not-the-boundary\r\n\x00\xff"
BOUNDARY = "----formdata-0123456789"


def part(disposition: str, body: bytes, content_type: str | None = None) -> bytes:
    """A part of a form as it goes over the wire."""
    kind = f"Content-Type: {content_type}\r\n" if content_type else ""
    return (
        f"--{BOUNDARY}\r\nContent-Disposition: form-data; {disposition}\r\n{kind}\r\n".encode()
        + body
        + b"\r\n"
    )


END = f"--{BOUNDARY}--\r\n".encode()
FILE = part('name="content"; filename="a.txt"', CONTENT, "text/plain")


async def post(served: Served, headers: Headers, *parts: bytes, status: int = 201) -> dict[str, Any]:
    """Upload what these parts are; the answer's body."""
    response = await served.http.post(
        "/v1/files",
        content=b"".join([*parts, END]),
        headers=headers | {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"},
    )
    assert response.status_code == status, response.text
    return response.json()


async def get(served: Served, headers: Headers, url: str, status: int = 200) -> dict[str, Any]:
    response = await served.http.get(url, headers=headers)
    assert response.status_code == status, response.text
    return response.json()


def kept(tmp_path: Path) -> list[Path]:
    """The files in the store."""
    return [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()]


# What the clients write: name, media type and metadata as they are to be understood.
FORMS: dict[str, tuple[list[bytes], str, str, dict[str, Any]]] = {
    "replicate 1.0.7": (
        [part('name="metadata"', b'{"k": 1}'), FILE],
        "a.txt",
        "text/plain",
        {"k": 1},
    ),
    "replicate 1.0.7 without metadata": ([FILE], "a.txt", "text/plain", {}),
    "replicate 2.0.0b4": (
        [
            part('name="filename"', b"a.txt"),
            part('name="type"', b"text/plain"),
            part('name="metadata[k]"', b"v"),
            part('name="metadata[deep][k]"', b"1"),
            part('name="metadata[tags][]"', b"x"),
            part('name="metadata[tags][]"', b"y"),
            part('name="content"; filename="upload"', CONTENT, "application/octet-stream"),
        ],
        "a.txt",
        "text/plain",
        {"k": "v", "deep": {"k": "1"}, "tags": ["x", "y"]},
    ),
    "replicate 2.0.0b4 with bytes alone": (
        [part('name="content"; filename="upload"', CONTENT, "application/octet-stream")],
        "upload",
        "application/octet-stream",
        {},
    ),
    "replicate.js 1.4.0": (
        [
            part('name="content"; filename="buffer_1763632800000"', CONTENT, "application/octet-stream"),
            part('name="metadata"; filename="blob"', b'{"k":1}', "application/json"),
        ],
        "buffer_1763632800000",
        "application/octet-stream",
        {"k": 1},
    ),
    "curl": (
        [
            part('name="content"; filename="a.txt"', CONTENT, "text/plain; charset=utf-8"),
            part('name="metadata"', b"{}", "application/json"),
        ],
        "a.txt",
        "text/plain; charset=utf-8",
        {},
    ),
}


async def test_each_client_uploads_as_it_is_used_to(served: Served) -> None:
    root = await served.admin()
    for client, (parts, name, content_type, metadata) in FORMS.items():
        made = await post(served, root, *parts)
        understood = made["name"], made["content_type"], made["metadata"]
        assert understood == (name, content_type, metadata), client
        assert (made["size"], made["etag"]) == (len(CONTENT), md5(CONTENT).hexdigest())
        assert made["checksums"] == {"sha256": sha256(CONTENT).hexdigest(), "md5": made["etag"]}
        life = datetime.fromisoformat(made["expires_at"]) - datetime.fromisoformat(made["created_at"])
        assert life == timedelta(hours=24)
        assert made["urls"]["get"] == f"{BASE_URL}/v1/files/{made['id']}"
        assert await get(served, root, made["urls"]["get"]) == made
        assert (await served.http.get(made["urls"]["download"])).content == CONTENT


WRONG: list[tuple[list[bytes], str, str]] = [
    ([], "content", "is required, as a file"),
    ([part('name="metadata"', b"{}")], "content", "is required, as a file"),
    ([part('name="content"', CONTENT)], "content", "is required, as a file"),
    ([FILE, FILE], "content", "is given more than once"),
    ([FILE, part('name="metadata"', b"{")], "metadata", "must be a JSON object"),
    ([FILE, part('name="metadata"', b"[1]")], "metadata", "must be a JSON object"),
    (
        [FILE, part('name="metadata"', b'{"k":' + b"[" * 5000 + b"]" * 5000 + b"}")],
        "metadata",
        "must be a JSON",
    ),
    (
        [FILE, part('name="metadata"; filename="blob"', b'"%s"' % (b"x" * 65536))],
        "metadata",
        "is longer than",
    ),
    (
        [FILE, part('name="metadata[a]"', b"1"), part('name="metadata[a]"', b"2")],
        "metadata[a]",
        "is given more",
    ),
    (
        [FILE, part('name="metadata[a]"', b"1"), part('name="metadata[a][b]"', b"2")],
        "metadata[a][b]",
        "is a part",
    ),
    ([FILE, part('name="metadata[a][][b]"', b"1")], "metadata[a][][b]", "is no name for a value"),
    ([FILE, *[part(f'name="metadata[{number}]"', b"1") for number in range(300)]], "body", "is no form"),
    ([FILE, part('name="metadata[]"', b"1")], "metadata[]", "is no name for a value"),
    ([FILE, part(f'name="metadata{"[a]" * 500}"', b"1")], "metadata" + "[a]" * 500, "is no name for"),
    ([FILE, part('name="metadata[a]"; filename="x"', b"1")], "metadata[a]", "must be text, not a file"),
    ([FILE, part('name="type"; filename="x"', b"1")], "type", "must be text, not a file"),
    ([FILE, part('name="type"', b"picture")], "type", "must be a media type"),
    ([FILE, part('name="filename"', b"x" * 256)], "filename", "must have at most 255 bytes"),
    ([FILE, part('name="filename"', b"a\0b")], "filename", "must have at most 255 bytes, of printable"),
    ([FILE, part('name="file"', b"1")], "file", "is not a known part"),
    ([FILE, part('name="metadata"', b"x" * 65537)], "body", "is no form that can be read"),
]


async def test_a_form_that_does_not_fit_is_refused_with_its_part(served: Served, tmp_path: Path) -> None:
    root = await served.admin()
    for parts, field, message in WRONG:
        (error,) = (await post(served, root, *parts, status=422))["errors"]
        assert (error["field"], error["message"][: len(message)]) == (field, message)
    assert kept(tmp_path) == []


async def test_what_is_no_form_is_refused_too(served: Served, tmp_path: Path) -> None:
    root = await served.admin()
    response = await served.http.post("/v1/files", json={"content": "abc"}, headers=root)
    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, "content")
    nul = part('name="metadata"', b'{"k": "\\u0000"}')
    assert "NUL" in (await post(served, root, FILE, nul, status=422))["detail"]
    assert kept(tmp_path) == [], "what has no row is not kept"
    assert (await served.http.post("/v1/files", content=b"")).status_code == 401


async def test_a_file_is_its_owners_alone(served: Served, tmp_path: Path) -> None:
    ada, ben = await served.person("ada"), await served.person("ben")
    file = await post(served, ada, FILE)
    for someone in (ben, await served.admin()):
        for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/download")):
            answer = await served.http.request(method, file["urls"]["get"] + path, headers=someone)
            assert (answer.status_code, answer.json()["status"]) == (404, 404)
        assert (await get(served, someone, "/v1/files"))["results"] == []
    assert (await served.http.get(file["urls"]["get"])).status_code == 401
    assert (await get(served, ada, "/v1/files"))["results"] == [file]
    assert (await served.http.get(file["urls"]["get"] + "/download", headers=ada)).content == CONTENT
    gone = await served.http.delete(file["urls"]["get"], headers=ada)
    assert (gone.status_code, gone.content) == (204, b"")
    for method in ("GET", "DELETE"):
        assert (await served.http.request(method, file["urls"]["get"], headers=ada)).status_code == 404
    assert (await served.http.get(file["urls"]["download"])).status_code == 404
    assert kept(tmp_path) == []


async def test_no_id_leads_elsewhere(served: Served) -> None:
    root = await served.admin()
    for wrong in ("x", "0" * 26, "..%2F..%2Fx", "é" * 26, "a" * 300):
        await get(served, root, f"/v1/files/{wrong}", status=404)


async def test_files_are_listed_in_pages_the_newest_first(served: Served) -> None:
    root = await served.admin()
    made = [(await post(served, root, FILE))["id"] for _ in range(3)]
    first = await get(served, root, "/v1/files?limit=2")
    second = await get(served, root, first["next"])
    assert [file["id"] for file in first["results"] + second["results"]] == made[::-1]
    assert (first["previous"], second["next"]) == (None, None)
    assert (await get(served, root, second["previous"]))["results"] == first["results"]


async def test_a_signed_url_downloads_without_a_token_until_it_is_changed(served: Served) -> None:
    ada, ben = await served.person("ada"), await served.person("ben")
    url = (await post(served, ada, FILE))["urls"]["download"]
    query = parse_qs(urlsplit(url).query)
    assert query["owner"] == ["ada"]
    for headers in ({}, ada, ben, {"Authorization": "Bearer nobody"}):
        answer = await served.http.get(url, headers=headers)
        assert (answer.status_code, answer.content) == (200, CONTENT)
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Content-Disposition"] == "attachment; filename*=UTF-8''a.txt"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    other = (await post(served, ada, FILE))["id"]
    for changed in (
        url.replace("owner=ada", "owner=ben"),
        url.replace("expiry=", "expiry=9"),
        url.replace("expiry=", "expiry=x"),
        url.replace("signature=", "signature=A"),
        url.replace(urlsplit(url).path.split("/")[3], other),
    ):
        assert (await served.http.get(changed)).status_code == 403, changed


@pytest.mark.slow
async def test_a_file_that_has_expired_is_not_there_any_more(serve: Serve) -> None:
    async with serve(file_hours=0.5 / 3600) as served:
        root = await served.admin()
        file = await post(served, root, FILE)
        left = datetime.fromisoformat(file["expires_at"]) - datetime.now(UTC)
        await asyncio.sleep(left.total_seconds())
        await get(served, root, file["urls"]["get"], status=404)
        assert (await get(served, root, "/v1/files"))["results"] == []
        assert (await served.http.get(file["urls"]["download"])).status_code == 403


async def chunks(size: int, *, told: list[int]) -> AsyncIterator[bytes]:
    """A form with a file of so many zeros, 64 KiB at a time; `told` counts the bytes that were asked for."""
    yield FILE.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    for start in range(0, size, 65536):
        told.append(min(65536, size - start))
        yield bytes(told[-1])
    yield b"\r\n" + END


async def send(
    served: Served, headers: Headers, size: int, told: list[int], *, path: str = "/v1/files"
) -> Any:
    form = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    return await served.http.post(path, content=chunks(size, told=told), headers=headers | form)


@pytest.mark.slow
async def test_a_large_file_is_never_whole_in_memory(served: Served) -> None:
    root = await served.admin()
    await post(served, root, FILE)
    size = 32_000_000
    tracemalloc.start()
    try:
        response = await send(served, root, size, [])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert response.status_code == 201
    assert response.json()["size"] == size
    assert response.json()["checksums"]["sha256"] == sha256(bytes(size)).hexdigest()
    assert peak < 10_000_000


async def test_a_file_beyond_the_limit_is_refused_as_soon_as_it_is(serve: Serve, tmp_path: Path) -> None:
    limit = 1 << 20
    async with serve(file_limit_bytes=limit, batch_file_bytes=limit, max_input_bytes=2048) as served:
        root = await served.admin()
        for path in ("/v1/files", "/v1/v1/files", "/files/"):
            assert (await send(served, root, limit, [], path=path)).status_code == 201, path
        told: list[int] = []
        for size in (limit + 1, 50 * limit):
            told.clear()
            refused = await send(served, root, size, told)
            assert (refused.status_code, refused.json()["status"]) == (413, 413)
            assert refused.headers["Content-Type"] == "application/problem+json"
        assert sum(told) <= 3 * limit, "the rest is not read"
        declared = {"Content-Length": str(100 * limit), "Content-Type": "multipart/form-data; boundary=x"}
        answer = await served.http.post("/v1/files", content=b"", headers=root | declared)
        assert answer.status_code == 413
        assert len(kept(tmp_path)) == await scalar(served, "SELECT count(*) FROM files") == 3


async def test_a_store_that_is_away_is_told_as_such(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    async with serve(blob_store=str(tmp_path / "file")) as served:
        problem = await post(served, await served.admin(), FILE, status=503)
        assert problem["detail"] == "a server behind this one is out of reach now"
        assert await scalar(served, "SELECT count(*) FROM files") == 0


@pytest.mark.slow
async def test_the_form_is_described(served: Served) -> None:
    described = (await served.http.get("/openapi.json")).json()["paths"]["/v1/files"]["post"]
    form = described["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert [shape["required"] for shape in form["anyOf"]] == [["content"], ["file", "purpose"]]
