"""Files in inputs: looked into at the edge, kept beside the row, and sent along as parts of the request."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.api.asking import add_model, ask, look, scalar
from tests.api.conftest import Serve, Served
from tests.model_types.media.files import encoded, flag, recorded, tone

pytestmark = pytest.mark.anyio

PNG = encoded(flag())
WAV = recorded(tone(0.1))
JPEG = encoded(Image.fromarray(np.random.default_rng(0).integers(0, 255, (256, 256, 3), np.uint8)), "JPEG")
assert len(PNG) < 1024 < 20_000 < len(JPEG)

TYPES = ("classification", "image-to-text", "speech-to-text")
Headers = dict[str, str]
Part = tuple[str, Any]


def data_uri(data: bytes, media_type: str = "image/png") -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


async def root_with_models(served: Served) -> Headers:
    """An administrator, and one model of each type, called like it."""
    root = await served.admin()
    for name in TYPES:
        await add_model(served, root, name=name, model_type=name, model_path="a/b")
    return root


async def send(
    served: Served,
    headers: Headers,
    *parts: Part,
    status: int = 201,
    model: str = "root/classification",
    **given: Any,
) -> dict[str, Any]:
    """Create a prediction from the parts of one request; the answer's body."""
    body = json.dumps({"model": model, "input": given}).encode()
    files = [("prediction", (None, body, "application/json")), *parts]
    response = await served.http.post("/v1/predictions/multipart", files=files, headers=headers)
    assert response.status_code == status, response.text
    return response.json()


def image_part(name: str = "image", data: bytes = PNG) -> Part:
    return name, ("cat.exe", data, "application/x-whatever")


async def stored_input(served: Served, prediction_id: str) -> dict[str, Any]:
    """The input as its row has it."""
    return await scalar(served, f"SELECT input FROM predictions WHERE id = '{prediction_id}'")


def files_under(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


async def fetched(served: Served, url: str) -> bytes:
    response = await served.http.get(url)
    assert response.status_code == 200, response.text
    return response.content


async def test_a_small_file_stays_in_its_row(served: Served, tmp_path: Path) -> None:
    root = await root_with_models(served)
    for reference in (data_uri(PNG), base64.b64encode(PNG).decode()):
        made = await ask(served, root, model="root/classification", input={"image": reference})
        assert made["input"] == {"image": reference}
        assert await stored_input(served, made["id"]) == {"image": reference}
    assert files_under(tmp_path / "blobs") == []


@pytest.mark.slow
async def test_a_large_file_moves_to_the_store_and_is_shown_by_a_url(serve: Serve, tmp_path: Path) -> None:
    async with serve(inline_input_bytes=1024) as served:
        root = await root_with_models(served)
        given = {"image": data_uri(JPEG), "top_k": 3}
        made = await ask(served, root, model="root/classification", input=given)
        (name,) = files_under(tmp_path / "blobs")
        assert name == f"inputs/{made['id'][:5]}/{made['id']}/0.jpg"
        assert await stored_input(served, made["id"]) == {"image": f"blob:{name}", "top_k": 3}
        assert await fetched(served, made["input"]["image"]) == JPEG
        assert (await look(served, root, made["id"]))["input"]["image"].startswith("http://augury.example/")


@pytest.mark.slow
async def test_the_same_file_in_two_fields_is_stored_once(serve: Serve, tmp_path: Path) -> None:
    async with serve(inline_input_bytes=1024) as served:
        root = await root_with_models(served)
        same, other = data_uri(JPEG), data_uri(JPEG[:-2] + b"\xff\xd9")
        made = await ask(served, root, model="root/image-to-text", input={"images": [same, other, same]})
        assert len(files_under(tmp_path / "blobs")) == 1
        assert len(set(made["input"]["images"])) == 1


@pytest.mark.slow
async def test_a_model_with_a_schema_of_its_own_takes_files_too(serve: Serve) -> None:
    async with serve(inline_input_bytes=1024) as served:
        root = await served.admin()
        photo = {"type": "string", "x-media": "image"}
        schema = {
            "type": "object",
            "properties": {"photo": photo, "pages": {"type": "array", "items": {"$ref": "#/$defs/page"}}},
            "$defs": {"page": {"type": "object", "properties": {"scan": photo}}},
        }
        await add_model(
            served, root, name="own", model_type="custom", model_path="own.py", input_schema=schema
        )
        made = await send(
            served, root, image_part("photo"), model="root/own", pages=[{"scan": data_uri(JPEG)}]
        )
        assert await fetched(served, made["input"]["photo"]) == PNG
        assert await fetched(served, made["input"]["pages"][0]["scan"]) == JPEG
        for stranger in ("blob:inputs/0/1/2.png", data_uri(b"hello")):
            problem = await ask(served, root, status=422, model="root/own", input={"photo": stranger})
            assert problem["errors"][0]["field"] == "input.photo"


UNUSABLE: list[tuple[str, dict[str, Any], str, str]] = [
    ("classification", {"image": data_uri(b"hello")}, "input.image", "is not an image in one of"),
    ("classification", {"image": data_uri(JPEG[:9000])}, "input.image", "is a broken or incomplete"),
    ("classification", {"image": "/etc/passwd.png"}, "input.image", "must be an http(s) URL, a data:"),
    ("classification", {"image": "blob:inputs/0/1/2.png"}, "input.image", "must be an http(s) URL, a"),
    ("classification", {"image": "part:0"}, "input.image", "must be an http(s) URL, a data: URI"),
    ("classification", {"image": "data:,"}, "input.image", "is empty"),
    (
        "classification",
        {"image": "https://example.com/a.png"},
        "input.image",
        "is a URL, and this server",
    ),
    ("image-to-text", {"images": [data_uri(PNG), "?"]}, "input.images.1", "must be an http(s) URL, a"),
    ("speech-to-text", {"audio": data_uri(PNG)}, "input.audio", "is not audio in one of"),
    ("speech-to-text", {"audio": data_uri(WAV[:20])}, "input.audio", "is a broken or incomplete"),
]


async def test_what_is_wrong_with_a_file_is_told_at_once(served: Served) -> None:
    root = await root_with_models(served)
    for model, given, field, message in UNUSABLE:
        problem = await ask(served, root, status=422, model=f"root/{model}", input=given)
        (error,) = problem["errors"]
        assert (error["field"], error["message"][: len(message)]) == (field, message)
    assert await scalar(served, "SELECT count(*) FROM predictions") == 0


async def test_limits_are_those_of_the_settings(serve: Serve) -> None:
    async with serve(max_input_bytes=2048, max_image_pixels=799, max_audio_seconds=0.01) as served:
        root = await root_with_models(served)
        for model, given, message in (
            ("classification", {"image": data_uri(JPEG)}, "is larger than 2 KiB, which is the most"),
            ("classification", {"image": data_uri(PNG)}, "has 40 by 20 pixels: must not have more"),
            (
                "speech-to-text",
                {"audio": data_uri(recorded(tone(0.02, rate=8000), 8000))},
                "lasts longer than 0.01 seconds",
            ),
        ):
            problem = await ask(served, root, status=422, model=f"root/{model}", input=given)
            assert problem["errors"][0]["message"].startswith(message)


@pytest.mark.slow
async def test_the_body_has_room_for_the_largest_file_in_base64(serve: Serve) -> None:
    async with serve(max_input_bytes=2 * 1024 * 1024) as served:
        root = await root_with_models(served)
        largest = JPEG + bytes(2 * 1024 * 1024 - len(JPEG))
        made = await ask(served, root, model="root/classification", input={"image": data_uri(largest)})
        assert await fetched(served, made["input"]["image"]) == largest
        beyond = data_uri(largest + bytes(1024 * 1024))
        await ask(served, root, status=413, model="root/classification", input={"image": beyond})


async def test_urls_are_judged_by_what_they_say_where_fetching_is_allowed(serve: Serve) -> None:
    async with serve(allow_remote_inputs=True) as served:
        root = await root_with_models(served)
        url = "https://example.com/a.png"
        made = await ask(served, root, model="root/classification", input={"image": url})
        assert made["input"] == {"image": url}
        for inside in ("http://169.254.169.254/latest/meta-data/", "http://localhost/", "http://[::1]/"):
            problem = await ask(
                served, root, status=422, model="root/classification", input={"image": inside}
            )
            assert problem["errors"][0]["field"] == "input.image"
            assert problem["errors"][0]["message"].startswith("must not lead to")


@pytest.mark.slow
async def test_a_file_of_one_prediction_goes_into_the_next_by_its_url(serve: Serve, tmp_path: Path) -> None:
    async with serve(inline_input_bytes=1024) as served:
        root = await root_with_models(served)
        first = await ask(served, root, model="root/classification", input={"image": data_uri(JPEG)})
        url = first["input"]["image"]
        second = await ask(served, root, model="root/classification", input={"image": url})
        assert second["input"]["image"] != url
        assert await fetched(served, second["input"]["image"]) == JPEG
        assert len(files_under(tmp_path / "blobs")) == 2
        forged = url[:-4] + ("0000" if url[-4:] != "0000" else "1111")
        problem = await ask(served, root, status=422, model="root/classification", input={"image": forged})
        assert "this server fetches none" in problem["detail"]


async def uploaded(served: Served, headers: Headers, data: bytes) -> str:
    """Upload a file; its URL, as clients of Replicate write it into inputs."""
    response = await served.http.post("/v1/files", files={"content": ("a.png", data)}, headers=headers)
    assert response.status_code == 201, response.text
    return response.json()["urls"]["get"]


@pytest.mark.slow
async def test_an_uploaded_file_goes_into_a_prediction_by_its_url(served: Served) -> None:
    root = await root_with_models(served)
    url = await uploaded(served, root, PNG)
    path = url.removeprefix("http://augury.example")
    for name in (
        url,
        url + "/",
        f"{url}?a=b",
        f"{url}/download",
        f"http://augury.example/v1{path}",
        f"https://proxy.example:8443/prefix{path}",
    ):
        given = {"image": name, "prompt": url}
        made = await ask(served, root, model="root/image-to-text", input=given)
        assert await fetched(served, made["input"]["image"]) == PNG
        assert made["input"]["prompt"] == url, "what takes no file stays text"
    assert (await stored_input(served, made["id"]))["image"].startswith("blob:inputs/")
    assert (await served.http.delete(url, headers=root)).status_code == 204
    assert await fetched(served, made["input"]["image"]) == PNG, "as long as the prediction"
    problem = await ask(served, root, status=422, model="root/classification", input={"image": url})
    assert problem["errors"] == [
        {
            "field": "input.image",
            "message": "is not a file of yours that is kept here: it may have expired",
        }
    ]


@pytest.mark.slow
async def test_an_uploaded_file_is_judged_like_any_other(serve: Serve, tmp_path: Path) -> None:
    async with serve(max_input_bytes=20_000, allow_remote_inputs=True) as served:
        root = await root_with_models(served)
        ada = await served.person("ada")
        for url, message in (
            (await uploaded(served, root, b"hello"), "is not an image in one of the formats"),
            (await uploaded(served, root, JPEG), "is larger than 19.53 KiB, which is the most"),
            (await uploaded(served, ada, PNG), "is not a file of yours that is kept here"),
            ("http://augury.example/v1/files/" + "0" * 26, "is not a file of yours that is kept here"),
        ):
            problem = await ask(
                served, root, status=422, model="root/image-to-text", input={"images": [data_uri(PNG), url]}
            )
            (error,) = problem["errors"]
            assert (error["field"], error["message"][: len(message)]) == ("input.images.1", message)
        assert await scalar(served, "SELECT count(*) FROM predictions") == 0


@pytest.mark.slow
async def test_a_key_stands_for_the_files_content(serve: Serve, tmp_path: Path) -> None:
    async with serve(inline_input_bytes=1024) as served:
        root = await root_with_models(served)
        model = "root/classification"
        made = await ask(served, root, key="k", model=model, input={"image": data_uri(JPEG)})
        again = await ask(served, root, key="k", model=model, input={"image": data_uri(JPEG)})
        assert again["id"] == made["id"]
        assert len(files_under(tmp_path / "blobs")) == 1, "what was sent again is not kept"
        sent = await send(served, root | {"Idempotency-Key": "k"}, image_part(data=JPEG))
        assert sent["id"] == made["id"], "in whichever form it is sent"
        for url in [await uploaded(served, root, JPEG) for _ in range(2)]:
            again = await ask(served, root, key="k", model=model, input={"image": url})
            assert again["id"] == made["id"], "and under whichever URL it was uploaded"
        problem = await send(
            served, root | {"Idempotency-Key": "k"}, image_part(data=JPEG + b"\0"), status=422
        )
        assert problem["type"] == "urn:augury:error:idempotency-mismatch"


@pytest.mark.slow
async def test_files_come_along_as_parts(served: Served, tmp_path: Path) -> None:
    root = await root_with_models(served)
    for name in ("image", "input.image"):
        made = await send(served, root, image_part(name), top_k=2)
        assert made["input"]["top_k"] == 2
        assert await fetched(served, made["input"]["image"]) == PNG
    assert [Path(name).name for name in files_under(tmp_path / "blobs")] == ["0.png", "0.png"]


@pytest.mark.slow
async def test_a_field_gets_as_many_files_as_it_takes_of_its_kind(served: Served) -> None:
    root = await root_with_models(served)
    for images in ([PNG], [PNG, JPEG]):
        parts = [image_part("images", data) for data in images]
        made = await send(served, root, *parts, model="root/image-to-text")
        assert [await fetched(served, url) for url in made["input"]["images"]] == images
    made = await send(served, root, ("audio", ("a", WAV)), model="root/speech-to-text")
    assert await fetched(served, made["input"]["audio"]) == WAV


MISPLACED: list[tuple[list[Part], dict[str, Any], str, str]] = [
    ([image_part("picture")], {}, "input.picture", "is not a known field"),
    ([image_part("text")], {}, "input.text", "does not take a file"),
    ([image_part(), image_part()], {}, "input.image", "is given more than once"),
    ([image_part()], {"image": data_uri(PNG)}, "input.image", "is given more than once"),
    ([image_part(data=b"hello")], {}, "input.image", "is not an image in one of the formats"),
    ([image_part(data=b"")], {}, "input.image", "is not an image in one of"),
    ([("image", (None, "text"))], {}, "image", "must be a file: what is text belongs into the part"),
]


async def test_parts_that_do_not_fit_are_named(served: Served, tmp_path: Path) -> None:
    root = await root_with_models(served)
    for parts, given, field, message in MISPLACED:
        problem = await send(served, root, *parts, status=422, **given)
        error = problem["errors"][0]
        assert (error["field"], error["message"][: len(message)]) == (field, message)
    assert files_under(tmp_path / "blobs") == []


async def test_a_part_that_is_too_large_is_refused(serve: Serve) -> None:
    async with serve(max_input_bytes=2048) as served:
        root = await root_with_models(served)
        problem = await send(served, root, image_part(data=JPEG), status=422)
        assert problem["errors"][0] == {
            "field": "input.image",
            "message": "is larger than 2 KiB, which is the most",
        }
        problem = await send(served, root, image_part(data=bytes(2 * 1024 * 1024)), status=413)
        assert problem["type"] == "urn:augury:error:body-too-large"


async def test_a_request_without_its_json_is_refused(served: Served) -> None:
    root = await root_with_models(served)
    for files in ([image_part()], [("prediction", (None, "{}")), ("prediction", (None, "{}"))]):
        response = await served.http.post("/v1/predictions/multipart", files=files, headers=root)
        assert response.status_code == 422
        assert response.json()["errors"][0]["field"] == "prediction"
    response = await served.http.post("/v1/predictions/multipart", json={}, headers=root)
    assert response.status_code == 422


@pytest.mark.slow
async def test_parts_are_waited_for_and_described_like_json(served: Served) -> None:
    root = await root_with_models(served)
    body = json.dumps({"model": "root/classification", "input": {}}).encode()
    response = await served.http.post(
        "/v1/predictions/multipart",
        files=[("prediction", ("prediction.json", body, "application/json")), image_part()],
        headers=root | {"Prefer": "wait=1"},
    )
    assert (response.status_code, response.json()["status"]) == (202, "starting")
    assert response.headers["preference-applied"] == "wait=1"
    assert response.headers["location"].endswith(response.json()["id"])
    described = (await served.http.get("/openapi.json")).json()["paths"]["/v1/predictions/multipart"]["post"]
    schema = described["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert schema["required"] == ["prediction"]


async def test_a_store_that_is_away_is_told_as_such(serve: Serve, tmp_path: Path) -> None:
    blocked = tmp_path / "in-the-way"
    blocked.write_text("")
    async with serve(blob_store=str(blocked)) as served:
        root = await root_with_models(served)
        problem = await send(served, root, image_part(), status=503)
        assert problem["type"] == "urn:augury:error:blob-store-unavailable"
        assert await scalar(served, "SELECT count(*) FROM predictions") == 0
