"""What Replicate's clients also ask for: account, hardware, collections, search, trainings."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text

from db import lanes
from db.repositories.transactions import write
from db.session import sync_engine
from db.settings import DatabaseSettings
from tests.api.asking import add_model
from tests.api.conftest import Served

pytestmark = pytest.mark.anyio

EMBEDDER: dict[str, Any] = {"name": "vectors", "model_type": "embeddings", "model_path": "x"}


async def get(served: Served, url: str, headers: dict[str, str] | None = None, status: int = 200) -> Any:
    response = await served.http.get(url, headers=headers or {})
    assert response.status_code == status, response.text
    return response.json()


async def test_a_token_tells_whose_it_is(served: Served) -> None:
    ann = await served.person("ann")
    account: dict[str, Any] = {"type": "user", "username": "ann", "name": "ann", "github_url": None}
    account |= {"monthly_run_seconds": None, "run_seconds_this_month": 0}
    assert await get(served, "/v1/account", ann) == account
    await get(served, "/v1/account", status=401)


async def test_hardware_is_what_live_lanes_have_and_the_cpu(served: Served, database_url: str) -> None:
    cpu = {"sku": "cpu", "name": "CPU"}
    assert await get(served, "/v1/hardware") == [cpu]
    engine = sync_engine(DatabaseSettings(database_url=database_url))
    for slot, device in enumerate(("cuda", "cuda", "")):
        lanes.register(
            engine, lanes.LaneInfo(str(slot), "worker", slot, "here", slot, ["echo"], device=device)
        )
    engine.dispose()
    assert await get(served, "/v1/hardware") == [cpu, {"sku": "cuda", "name": "GPU (CUDA)"}]
    async with write(served.gateway.engine) as session:
        await session.execute(text("UPDATE lanes SET last_seen = now() - interval '1 hour'"))
    assert await get(served, "/v1/hardware") == [cpu]


async def test_the_models_of_one_type_are_a_collection(served: Served) -> None:
    admin = await served.admin()
    await add_model(served, admin)
    await add_model(served, admin, **EMBEDDER)
    await add_model(served, admin, **EMBEDDER | {"name": "hidden", "visibility": "private"})
    await add_model(served, admin, name="rest", model_type="rerank", visibility="private")

    listed = await get(served, "/v1/collections")
    assert [one["slug"] for one in listed["results"]] == ["echo", "embeddings"]
    assert (listed["next"], listed["previous"]) == (None, None)
    found = await get(served, "/v1/collections/embeddings")
    assert found["name"] == "Embeddings"
    assert found["description"]
    assert [model["name"] for model in found["models"]] == ["vectors"]
    mine = await get(served, "/v1/collections/embeddings", admin)
    assert [model["name"] for model in mine["models"]] == ["hidden", "vectors"]
    await get(served, "/v1/collections/rerank", status=404)
    await get(served, "/v1/collections/rerank", admin)


async def test_one_search_finds_models_and_collections(served: Served) -> None:
    admin = await served.admin()
    await add_model(served, admin, description="Not a vector.")
    await add_model(served, admin, **EMBEDDER)
    found = await get(served, "/v1/search?query=vector&limit=5")
    assert found["query"] == "vector"
    assert [one["model"]["name"] for one in found["models"]] == ["vectors", "echo"]
    scores = [one["metadata"]["score"] for one in found["models"]]
    assert scores == sorted(scores, reverse=True)
    assert found["models"][0]["metadata"]["tags"] == ["embeddings"]
    assert [one["slug"] for one in found["collections"]] == ["embeddings"]
    assert found["pages"] == []
    for bad in ("", "?query=a&limit=0", "?query=a%00b"):
        await get(served, f"/v1/search{bad}", status=422)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/trainings"),
        ("GET", "/trainings/x"),
        ("POST", "/trainings/x/cancel"),
        ("POST", "/models/a/b/versions/c/trainings"),
    ],
)
async def test_trainings_are_refused_for_good(served: Served, method: str, path: str) -> None:
    ann = await served.person("ann")
    response = await served.http.request(method, f"/v1{path}", headers=ann)
    assert response.status_code == 501
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["x-should-retry"] == "false"
    assert response.json()["detail"] == "this server runs models and does not train them"
