"""Two gateways, a worker and a steward as real processes: predictions from the edge to the model and back."""

from __future__ import annotations

import asyncio
import json
import random
import re
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from PIL import Image

from examples.demo_models import DIGITS, RECITAL, SHAPES
from examples.demo_models.shapes.scenes import scene
from tests.faults.audit import audit, place_witness
from tests.model_types.detections import intersection_over_union
from tests.model_types.pictures import data_uri
from tests.servers import Databases, Keyspaces
from tests.stack import Stack, wait_until
from tests.workers.receivers import answer, receiver

pytestmark = [pytest.mark.slow, pytest.mark.anyio]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def stacks(
    databases: Databases, keyspaces: Keyspaces, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[Stack]]:
    """Two gateways on the same servers; the first one's stack has a steward and a worker of one lane."""
    with databases.fresh() as database_url:
        redis_url = keyspaces.fresh()
        first = Stack(tmp_path_factory.mktemp("first"), database_url=database_url, redis_url=redis_url)
        environment = {name: first.environment[name] for name in ("SECRET_KEY", "BLOB_STORE")}
        second = Stack(
            tmp_path_factory.mktemp("second"),
            environment=environment,
            database_url=database_url,
            redis_url=redis_url,
        )
        try:
            pools = ["echo", "text-generation", "text-to-image", "classification", "object-detection"]
            first.start(workers=1, lanes=1, pools=pools)
            second.start_gateway()
            second.wait_until_ready()
            first.add_echo()
            with first.client() as client:
                client.add_model(
                    {
                        "owner": "test",
                        "name": "recital",
                        "model_type": "text-generation",
                        "model_path": str(RECITAL),
                    }
                )
            place_witness(database_url)
            yield [first, second]
        finally:
            second.kill_all()
            first.kill_all()


@pytest.fixture(scope="module")
def artists(stacks: list[Stack], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two models that draw noise, and take a while if they are asked for many steps; one may not."""
    from tests.model_types import tiny_diffusion  # takes torch and diffusers

    folder = tmp_path_factory.mktemp("tiny-diffusion")
    tiny_diffusion.build(folder)
    with stacks[0].client() as client:
        for name, options in (("artist", {}), ("hasty", {"execution_timeout_seconds": 1})):
            client.add_model(
                {
                    "owner": "test",
                    "name": name,
                    "model_type": "image-generation",
                    "model_path": str(folder),
                    "options": {"threads": 1} | options,
                }
            )
    return ["test/artist", "test/hasty"]


@asynccontextmanager
async def client_of(first: Stack, gateway: Stack | None = None) -> AsyncIterator[httpx.AsyncClient]:
    """An administrator's client of one gateway."""
    headers = {"Authorization": f"Bearer {first.token()}"}
    url = (gateway or first).url
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30, trust_env=False) as http:
        yield http


async def ask(
    http: httpx.AsyncClient, *, model: str = "test/echo", wait: bool = False, **inputs: Any
) -> dict[str, Any]:
    """Create a prediction; the answer's body."""
    headers = {"Prefer": "wait=25"} if wait else {}
    response = await http.post("/v1/predictions", json={"model": model, "input": inputs}, headers=headers)
    assert response.status_code == 201, response.text
    answer: dict[str, Any] = response.json()
    return answer


async def status(http: httpx.AsyncClient, prediction_id: str) -> str:
    return str((await http.get(f"/v1/predictions/{prediction_id}")).json()["status"])


async def until_status(http: httpx.AsyncClient, prediction_id: str, *words: str) -> None:
    async with asyncio.timeout(30):
        while await status(http, prediction_id) not in words:  # noqa: ASYNC110 - another process's state
            await asyncio.sleep(0.02)


async def test_a_prediction_goes_all_the_way_while_its_client_waits(stacks: list[Stack]) -> None:
    for gateway in stacks:
        async with client_of(stacks[0], gateway) as http:
            done = await ask(http, wait=True, text="ünïcödé")
            assert (done["status"], done["output"], done["attempts"]) == ("succeeded", "ünïcödé", 1)
            failed = await ask(http, wait=True, text="a", fail="as told")
            assert (failed["status"], failed["error"], failed["failure"]) == (
                "failed",
                "as told",
                "model_error",
            )


async def test_a_file_goes_all_the_way_and_any_gateway_serves_it(stacks: list[Stack]) -> None:
    with receiver(answer(200)) as here:
        async with client_of(stacks[0]) as http:
            body = {
                "model": "test/echo",
                "input": {"text": "Grüße", "file": True},
                "webhook": here.url,
                "webhook_events_filter": ["completed"],
            }
            made = (await http.post("/v1/predictions", json=body, headers={"Prefer": "wait=25"})).json()
            wait_until(lambda: bool(here.requests), 15, "the webhook")
            told = json.loads(here.requests[0].body)
            got = (await http.get(f"/v1/predictions/{made['id']}")).json()
    for url in (made["output"], told["output"], got["output"]):
        path = url[url.index("/v1/blobs/") :]
        assert f"/{made['id']}/1/echo.txt?" in path
        for gateway in stacks:
            async with httpx.AsyncClient(base_url=gateway.url, trust_env=False) as anybody:
                whole = await anybody.get(path)
                assert (whole.status_code, whole.text) == (200, "Grüße")
                assert whole.headers["Content-Type"].startswith("text/plain")
                part = await anybody.get(path, headers={"Range": "bytes=0-1"})
                assert (part.status_code, part.content) == (206, b"Gr")
                assert (await anybody.get(path + "0")).status_code == 403


async def test_cancelling_a_running_prediction_frees_its_lane_within_a_step(stacks: list[Stack]) -> None:
    async with client_of(stacks[0]) as http, client_of(*stacks) as other:
        long = await ask(http, text="long", sleep=60, steps=600)
        await until_status(http, long["id"], "processing")
        canceled = (await other.post(f"/v1/predictions/{long['id']}/cancel")).json()
        assert canceled["status"] == "canceled"
        loop = asyncio.get_running_loop()
        began = loop.time()
        # Of another pool, so it cannot join the session: the one lane must have left it.
        assert (await ask(http, model="test/recital", wait=True, prompt="Alice", max_new_tokens=1))["output"]
        assert loop.time() - began < 20
        assert (await ask(http, wait=True, text="after"))["status"] == "succeeded"
        assert await status(http, long["id"]) == "canceled"


async def test_a_text_that_is_being_written_can_be_cancelled(stacks: list[Stack]) -> None:
    async with client_of(stacks[0]) as http:
        # Warm, so that what is cancelled writes and does not load.
        await ask(http, model="test/recital", wait=True, prompt="Alice", max_new_tokens=1)
        batch = [
            await ask(
                http, model="test/recital", prompt="Alice", max_new_tokens=1900, temperature=1.5, seed=n
            )
            for n in range(8)
        ]
        await until_status(http, batch[0]["id"], "processing")
        for one in batch:
            answer = (await http.post(f"/v1/predictions/{one['id']}/cancel")).json()
            assert answer["status"] in ("canceled", "succeeded")
        assert (await ask(http, wait=True, text="after"))["status"] == "succeeded"
        assert "canceled" in [await status(http, one["id"]) for one in batch]


async def test_an_image_that_is_being_drawn_tells_its_progress_and_can_be_cancelled(
    stacks: list[Stack], artists: list[str]
) -> None:
    artist = artists[0]
    async with client_of(stacks[0]) as http:
        long = await ask(http, model=artist, prompt="a cat", num_inference_steps=500, num_outputs=4)
        shares = [await until_progress(http, long["id"])]
        shares.append(await until_progress(http, long["id"], beyond=shares[0]))
        assert 0 < shares[0] < shares[1] < 1
        canceled = (await http.post(f"/v1/predictions/{long['id']}/cancel")).json()
        assert canceled["status"] == "canceled"
        assert "progress" not in canceled
        before = photo(144, 128)
        made = await ask(
            http, model=artist, wait=True, prompt="a cat", image=before, width=72, num_inference_steps=4
        )
        assert made["status"] == "succeeded", made
        # Four images in 500 steps take minutes: the lane has let go of them.
        assert made["metrics"]["total_time"] < 10
        (url,) = made["output"]
        drawn = await http.get(url)
    assert drawn.headers["Content-Type"] == "image/png"
    with Image.open(BytesIO(drawn.content)) as image:
        assert (image.format, image.size) == ("PNG", (72, 64))


async def test_an_image_that_takes_too_long_is_given_up_and_its_lane_lives(
    stacks: list[Stack], artists: list[str]
) -> None:
    lanes = [process.pid for process in stacks[0].lanes()]
    async with client_of(stacks[0]) as http:
        made = await ask(
            http, model=artists[1], wait=True, prompt="a cat", num_inference_steps=500, num_outputs=4
        )
    assert (made["status"], made["failure"]) == ("failed", "execution_timeout")
    assert made["error"] == "The prediction ran for longer than 1 seconds."
    assert [process.pid for process in stacks[0].lanes()] == lanes


async def until_progress(http: httpx.AsyncClient, prediction_id: str, *, beyond: float = 0.0) -> float:
    """How far a prediction has come, once that is more than it was."""
    async with asyncio.timeout(60):
        while True:
            made = (await http.get(f"/v1/predictions/{prediction_id}")).json()
            assert made["status"] in ("starting", "processing"), made
            if made.get("progress", 0.0) > beyond:
                return float(made["progress"])
            await asyncio.sleep(0.05)


def photo(width: int, height: int) -> str:
    """A picture as a `data:` URI."""
    data = BytesIO()
    Image.linear_gradient("L").resize((width, height)).save(data, "PNG")
    return f"data:image/png;base64,{b64encode(data.getvalue()).decode()}"


async def test_a_digit_is_read_and_a_circle_is_found(stacks: list[Stack]) -> None:
    models = {"digits": ("image-classification", DIGITS), "shapes": ("object-detection", SHAPES)}
    with stacks[0].client() as client:
        for name, (model_type, folder) in models.items():
            client.add_model(
                {"owner": "test", "name": name, "model_type": model_type, "model_path": str(folder)}
            )
    truth = scene(1_000_000_007)  # not among those that it has learned from
    async with client_of(stacks[0]) as http:
        with Image.open(DIGITS / "samples" / "7.png") as digit:
            read = await ask(http, model="test/digits", wait=True, image=data_uri(digit), top_k=1)
        found = await ask(http, model="test/shapes", wait=True, image=data_uri(truth.image), annotate=True)
        drawn = await http.get(found["output"]["image"])
    assert [label["label"] for label in read["output"]] == ["7"]
    for shape in truth.shapes:
        assert any(
            detection["label"] == shape.label and intersection_over_union(detection["box"], shape.box) >= 0.8
            for detection in found["output"]["detections"]
        )
    assert drawn.headers["Content-Type"] == "image/jpeg"
    with Image.open(BytesIO(drawn.content)) as image:
        assert image.size == truth.image.size == (found["output"]["width"], found["output"]["height"])


async def test_a_requests_id_is_in_the_logs_of_gateway_and_worker(stacks: list[Stack]) -> None:
    async with client_of(stacks[0]) as http:
        response = await http.post(
            "/v1/predictions",
            json={"model": "test/echo", "input": {"text": "a"}},
            headers={"X-Request-Id": "the-one-to-find", "Prefer": "wait=25"},
        )
    assert response.headers["X-Request-Id"] == "the-one-to-find"
    made = response.json()["id"]
    for name, words in (
        ("gateway", r"POST /v1/predictions 201"),
        ("worker1", rf"prediction {made} succeeded"),
    ):
        line = re.compile(rf"^.* the-one-to-find .*{words}.*$", re.MULTILINE)
        wait_until(partial(_is_logged, stacks[0].log(name), line), 5, f"a line in {name}'s log")


def _is_logged(log: Path, line: re.Pattern[str]) -> bool:
    return line.search(log.read_text()) is not None


async def test_two_hundred_clients_at_two_gateways_lose_nothing(stacks: list[Stack]) -> None:
    database_url = stacks[0].environment["DATABASE_URL"]
    dice = random.Random(7)
    limits = httpx.Limits(max_connections=50)
    headers = {"Authorization": f"Bearer {stacks[0].token()}"}

    async def behave(https: list[httpx.AsyncClient], number: int, kind: str) -> str:
        here, there = dice.sample(https, 2)
        made = await ask(here, wait=kind == "wait", text=str(number), sleep=dice.choice([0, 0, 0.02]))
        if kind == "wait":
            assert made["output"] == str(number)
        elif kind == "cancel":
            answer = (await there.post(f"/v1/predictions/{made['id']}/cancel")).json()
            assert answer["status"] in ("canceled", "succeeded")
        elif kind == "get":
            assert await status(there, made["id"]) in ("starting", "processing", "succeeded")
        return str(made["id"])

    with psycopg.connect(database_url) as connection:
        earlier = {row[0] for row in connection.execute("SELECT id FROM predictions").fetchall()}
    async with (
        httpx.AsyncClient(base_url=stacks[0].url, headers=headers, timeout=60, limits=limits) as one,
        httpx.AsyncClient(base_url=stacks[1].url, headers=headers, timeout=60, limits=limits) as two,
    ):
        kinds = [dice.choice(["wait", "cancel", "get", "create"]) for _ in range(200)]
        made = await asyncio.gather(*(behave([one, two], n, kind) for n, kind in enumerate(kinds)))

    def all_ended() -> bool:
        with psycopg.connect(database_url) as connection:
            return connection.execute("SELECT FROM queue LIMIT 1").fetchone() is None

    await asyncio.to_thread(wait_until, all_ended, 30, "the end of all predictions")
    with psycopg.connect(database_url) as connection:
        # The witness knows echoes only.
        connection.execute("DELETE FROM predictions WHERE NOT id = ANY(%s)", [made])
        connection.execute("DELETE FROM endings WHERE NOT id = ANY(%s)", [made])
    assert not earlier & set(made)
    records = audit(database_url, made)
    assert {records[one].status for one in made} <= {"succeeded", "canceled"}
