"""Files over HTTP: whoever has a signed URL gets the file, in whole or in part, until it expires."""

from __future__ import annotations

import json
import time
from base64 import b64encode
from typing import Any

import pytest

from api.services.blobs import CHUNK_BYTES
from db.blobs import folder_of
from db.ids import new_id
from tests.api.asking import LaneByHand, add_model, ask, cancel, lane_by_hand, look
from tests.api.conftest import BASE_URL, Serve, Served

pytestmark = pytest.mark.anyio

CONTENT = bytes(range(256)) * 4


def put(served: Served, name: str = "out-0.png", data: bytes = CONTENT) -> str:
    """Store a file; its URL."""
    key = f"{folder_of('predictions', new_id())}/1/{name}"
    served.gateway.blobs.put(key, data)
    return served.gateway.blob_urls.url(BASE_URL, key)


async def test_a_file_is_served_with_what_a_browser_needs_to_know(served: Served) -> None:
    url = put(served)
    answer = await served.http.get(url)
    assert (answer.status_code, answer.content) == (200, CONTENT)
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.headers["Content-Length"] == "1024"
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["Content-Disposition"] == 'inline; filename="out-0.png"'
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'")
    head = await served.http.head(url)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["Content-Length"] == "1024"
    assert head.headers["ETag"] == answer.headers["ETag"]


async def test_a_text_is_said_to_be_utf_8(served: Served) -> None:
    answer = await served.http.get(put(served, "echo.txt", "Grüße".encode()))
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    ("asked", "status", "content", "told"),
    [
        ("bytes=0-0", 206, CONTENT[:1], "bytes 0-0/1024"),
        ("bytes=10-19", 206, CONTENT[10:20], "bytes 10-19/1024"),
        ("bytes=1000-", 206, CONTENT[1000:], "bytes 1000-1023/1024"),
        ("bytes=1000-9999", 206, CONTENT[1000:], "bytes 1000-1023/1024"),
        ("bytes=-24", 206, CONTENT[-24:], "bytes 1000-1023/1024"),
        ("bytes=-9999", 206, CONTENT, "bytes 0-1023/1024"),
        ("bytes=1024-", 416, b"", "bytes */1024"),
        ("bytes=-0", 416, b"", "bytes */1024"),
        ("bytes=0-1,5-6", 200, CONTENT, None),
        ("bytes=9-5", 200, CONTENT, None),
        ("bytes=-", 200, CONTENT, None),
        ("items=0-1", 200, CONTENT, None),
    ],
)
async def test_a_range_of_a_file(
    served: Served, asked: str, status: int, content: bytes, told: str | None
) -> None:
    answer = await served.http.get(put(served), headers={"Range": asked})
    assert (answer.status_code, answer.content) == (status, content)
    assert answer.headers.get("Content-Range") == told
    assert answer.headers["Content-Length"] == str(len(content))


async def test_an_empty_file_is_served_whole(served: Served) -> None:
    url = put(served, data=b"")
    assert (await served.http.get(url)).content == b""
    assert (await served.http.get(url, headers={"Range": "bytes=0-"})).status_code == 416


async def test_who_has_the_file_already_does_not_get_it_again(served: Served) -> None:
    url, other = put(served), put(served)
    etag = (await served.http.get(url)).headers["ETag"]
    again = await served.http.get(url, headers={"If-None-Match": etag})
    assert (again.status_code, again.content) == (304, b"")
    assert (await served.http.get(other, headers={"If-None-Match": etag})).status_code == 200
    part = {"Range": "bytes=0-9"}
    assert (await served.http.get(url, headers={**part, "If-Range": etag})).status_code == 206
    assert (await served.http.get(other, headers={**part, "If-Range": etag})).status_code == 200


async def test_a_url_that_was_tampered_with_or_has_expired_is_refused(served: Served) -> None:
    url = put(served)
    key = url.removeprefix(f"{BASE_URL}/v1/blobs/").partition("?")[0]
    yesterday = time.time() - 2 * 24 * 3600
    expired = served.gateway.blob_urls.url(BASE_URL, key, now=yesterday)
    for refused, noun in (
        (url.partition("?")[0], "invalid-blob-url"),
        (url + "0", "invalid-blob-url"),
        (url.replace("out-0", "out-1"), "invalid-blob-url"),
        (url.replace("expires=", "expires=9"), "invalid-blob-url"),
        (url.replace("expires=", "expires=x"), "invalid-blob-url"),
        (f"{BASE_URL}/v1/blobs/../../etc/passwd", "about:blank"),
        (f"{BASE_URL}/v1/blobs/..%2F..%2Fetc%2Fpasswd", "invalid-blob-url"),
        (expired, "expired-blob-url"),
    ):
        answer = await served.http.get(refused)
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json()["type"].endswith(noun), refused
        assert answer.status_code == (404 if noun == "about:blank" else 403)


async def test_a_file_that_is_gone_is_not_found(served: Served) -> None:
    key = f"{folder_of('predictions', new_id())}/1/out.png"
    answer = await served.http.get(served.gateway.blob_urls.url(BASE_URL, key))
    assert answer.status_code == 404
    assert answer.json()["type"] == "urn:augury:error:blob-not-found"


@pytest.mark.slow
async def test_what_is_long_comes_out_of_a_bucket_in_chunks(serve: Serve, bucket: str) -> None:
    async with serve(blob_store=bucket) as served:
        content = bytes(251) * 10_000 + b"end"
        assert len(content) > 2 * CHUNK_BYTES
        url = put(served, data=content)
        async with served.http.stream("GET", url) as answer:
            assert answer.headers["Content-Type"] == "image/png"
            assert b"".join([chunk async for chunk in answer.aiter_raw()]) == content
        answer = await served.http.get(url, headers={"Range": "bytes=-3"})
        assert (answer.status_code, answer.content) == (206, b"end")


async def test_a_store_that_is_away_is_no_fault_of_the_caller(serve: Serve, tmp_path: Any) -> None:
    (tmp_path / "file").write_text("")
    async with serve(blob_store=str(tmp_path / "file")) as served:
        key = f"{folder_of('predictions', new_id())}/1/out.png"
        answer = await served.http.get(served.gateway.blob_urls.url(BASE_URL, key))
        assert answer.status_code == 503
        assert answer.json()["detail"] == "a server behind this one is out of reach now"


async def test_a_prediction_shows_the_urls_of_its_own_files_and_of_no_others(
    served: Served, database_url: str, redis_url: str
) -> None:
    root = await served.admin()
    await add_model(served, root)
    async with lane_by_hand(database_url, redis_url) as lane:
        other = await ask(served, root, input={"text": "blob:inputs/01abc/01abcdef/image.png"})
        made = await ask(served, root)
        own = f"blob:{folder_of('predictions', made['id'])}/1/out.png"
        served.gateway.blobs.put(own.removeprefix("blob:"), CONTENT)
        leases = {lease.id: lease for lease in await lane.claim()}
        # The other one's model says what it should not know.
        leases[other["id"]].input["text"] = own
        leases[made["id"]].input["text"] = own
        await lane.finish(list(leases.values()))
    shown = await look(served, root, made["id"])
    assert shown["output"].startswith(f"{BASE_URL}/v1/blobs/predictions/")
    assert (await served.http.get(shown["output"])).content == CONTENT
    spoofed = await look(served, root, other["id"])
    assert spoofed["output"] == own
    assert spoofed["input"] == {"text": "blob:inputs/01abc/01abcdef/image.png"} | {
        name: value for name, value in spoofed["input"].items() if name != "text"
    }
    listed = (await served.http.get("/v1/predictions", headers=root)).json()["results"]
    assert {one["id"]: one["output"] for one in listed} == {made["id"]: shown["output"], other["id"]: own}
    assert "blob:" not in json.dumps(shown)


async def finished_with_files(
    served: Served, root: dict[str, str], lane: LaneByHand, *files: bytes
) -> dict[str, Any]:
    """A prediction whose output is a list of these files; as it was when it was accepted."""
    made = await ask(served, root)
    keys = [f"{folder_of('predictions', made['id'])}/1/{number}.png" for number in range(len(files))]
    for key, data in zip(keys, files, strict=True):
        served.gateway.blobs.put(key, data)
    (lease,) = await lane.claim()
    lease.input["text"] = [f"blob:{key}" for key in keys]
    await lane.finish([lease])
    return made


@pytest.mark.slow
async def test_who_asks_for_data_gets_the_files_within_the_output(
    served: Served, database_url: str, redis_url: str
) -> None:
    root = await served.admin()
    asking = root | {"X-Augury-Output": "data"}
    await add_model(served, root)
    async with lane_by_hand(database_url, redis_url) as lane:
        made = await finished_with_files(served, root, lane, CONTENT, bytes(9_999_000), b"last")
    assert all(url.startswith(BASE_URL) for url in (await look(served, root, made["id"]))["output"])
    data = f"data:image/png;base64,{b64encode(CONTENT).decode()}"
    listed = (await served.http.get("/v1/predictions", headers=asking)).json()["results"]
    for shown in (await look(served, asking, made["id"]), await cancel(served, asking, made["id"]), *listed):
        first, large, last = shown["output"]
        assert (first, last) == (data, "data:image/png;base64,bGFzdA==")
        assert large.startswith(BASE_URL), "what has no room beside the others is shown by its URL"


@pytest.mark.slow
async def test_a_server_may_show_all_output_files_as_data(
    serve: Serve, database_url: str, redis_url: str
) -> None:
    async with serve(output_files="data") as served:
        root = await served.admin()
        await add_model(served, root)
        async with lane_by_hand(database_url, redis_url) as lane:
            made = await finished_with_files(served, root, lane, b"1")
        assert (await look(served, root, made["id"]))["output"] == ["data:image/png;base64,MQ=="]
        asking = root | {"X-Augury-Output": "url"}
        (url,) = (await look(served, asking, made["id"]))["output"]
        assert (await served.http.get(url)).content == b"1"
        key = url.removeprefix(f"{BASE_URL}/v1/blobs/").partition("?")[0]
        served.gateway.blobs.delete(key)
        (gone,) = (await look(served, root, made["id"]))["output"]
        assert gone.startswith(BASE_URL)


async def test_credentials_of_any_kind_do_no_harm(served: Served) -> None:
    ada, ben = await served.person("ada"), await served.person("ben")
    url = put(served)
    invalid = {"Authorization": "Bearer aug_nobody"}, {"Authorization": "Basic YTpi"}
    for headers in ({}, ada, ben, *invalid):
        answer = await served.http.get(url, headers=headers, follow_redirects=False)
        assert (answer.status_code, answer.content) == (200, CONTENT)
        assert answer.headers["Content-Type"] == "image/png"
