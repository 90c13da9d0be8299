"""Models and versions in the words of Replicate's clients."""

from __future__ import annotations

import json
from typing import Any

import pytest

from api.credentials import Principal
from db.errors import NotFound
from tests.api.asking import LaneByHand, add_model, ask, lane_by_hand, look
from tests.api.conftest import BASE_URL, Served

pytestmark = pytest.mark.anyio

CUSTOM: dict[str, Any] = {
    "name": "own",
    "model_type": "custom",
    "model_path": "a:B",
    "input_schema": {"n": {"type": "integer"}},
}
BARE = {"owner": "root", "name": "later", "visibility": "private", "hardware": "cpu"}


async def get(served: Served, url: str, headers: dict[str, str] | None = None, status: int = 200) -> Any:
    response = await served.http.get(url, headers=headers or {})
    assert response.status_code == status, response.text
    return response.json()


async def names(served: Served, url: str, headers: dict[str, str] | None = None) -> list[str]:
    return [model["name"] for model in (await get(served, url, headers))["results"]]


async def test_a_model_has_what_replicates_clients_demand(served: Served) -> None:
    admin = await served.admin()
    model = await add_model(served, admin, github_url="https://example.com/x", links={"paper_url": None})
    for name in ("url", "owner", "name", "visibility"):
        assert isinstance(model[name], str)
    assert model["run_count"] == 0
    assert model["github_url"] == "https://example.com/x"
    for name in ("paper_url", "license_url", "cover_image_url", "default_example"):
        assert model[name] is None
    version = model["latest_version"]
    assert version["cog_version"] == "0.23.0"
    assert version["openapi_schema"]["components"]["schemas"]["Input"]["properties"]["text"]["x-order"] == 0
    listed = await get(served, "/v1/models/root/echo/versions")
    assert listed["results"] == [version]


async def test_one_list_serves_replicates_clients_and_openais(served: Served) -> None:
    admin = await served.admin()
    model = await add_model(served, admin)
    page = await get(served, "/v1/models")
    assert page["results"] == [model]
    assert page["object"] == "list"
    (named,) = page["data"]
    assert (named["id"], named["object"], named["owned_by"]) == ("root/echo", "model", "root")
    assert isinstance(named["created"], int)


async def test_models_are_sorted_by_their_latest_versions_and_turned_around(served: Served) -> None:
    admin = await served.admin()
    for name in ("a", "b", "c"):
        await add_model(served, admin, name=name)
    await add_model(served, admin, name="a", version="2")
    assert await names(served, "/v1/models") == ["c", "b", "a"]
    assert await names(served, "/v1/models?sort_direction=asc") == ["a", "b", "c"]
    by_version = "/v1/models?sort_by=latest_version_created_at"
    assert await names(served, by_version) == ["a", "c", "b"]
    seen: list[str] = []
    url: str | None = f"{by_version}&sort_direction=asc&limit=1"
    while url:
        page = await get(served, url)
        seen += [model["name"] for model in page["results"]]
        last, url = page, page["next"]
    assert seen == ["b", "c", "a"]
    assert await names(served, last["previous"]) == ["c"]
    await get(served, "/v1/models?sort_by=beauty", status=422)


async def test_a_model_may_exist_before_its_first_version(served: Served) -> None:
    admin = await served.admin()
    response = await served.http.post("/v1/models", json=BARE, headers=admin)
    assert response.status_code == 201
    model = response.json()
    assert (model["latest_version"], model["state"], model["visibility"]) == (None, None, "private")
    assert await get(served, "/v1/models/root/later", admin) == model
    assert await names(served, "/v1/models", admin) == ["later"]
    assert (await get(served, "/v1/models/root/later/versions", admin))["results"] == []
    assert (await served.http.post("/v1/models", json=BARE, headers=admin)).status_code == 409
    with pytest.raises(NotFound):
        await served.gateway.versions.resolve("root/later", Principal("0" * 26, "root", "admin"))
    assert (await served.http.post("/v1/models/root/later/load", headers=admin)).status_code == 404

    made = await add_model(served, admin, name="later")
    assert (made["id"], made["visibility"], made["version"]) == (model["id"], "private", "1")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"model_type": "echo"}, "model_path"),
        ({"model_path": "-"}, "model_type"),
        ({"model_path": "-", "engine": "builtin"}, "model_type"),
        ({"model_type": "echo", "model_path": "-", "output_schema": {}}, "output_schema"),
        (CUSTOM | {"output_schema": {"type": 1}}, "output_schema.type"),
        ({"github_url": "javascript:1"}, "github_url"),
    ],
)
async def test_half_a_version_is_refused_and_the_field_named(
    served: Served, change: dict[str, Any], field: str
) -> None:
    response = await served.http.post("/v1/models", json=BARE | change, headers=await served.admin())
    assert response.status_code == 422
    assert [error["field"] for error in response.json()["errors"]] == [field]


async def test_a_custom_model_says_what_comes_out(served: Served) -> None:
    admin = await served.admin()
    gives = {"type": "array", "items": {"type": "integer"}, "x-cog-array-type": "iterator"}
    plain = await add_model(served, admin, **CUSTOM)
    told = await add_model(served, admin, **CUSTOM, output_schema=gives)
    assert plain["latest_version"]["id"] != told["latest_version"]["id"]
    schemas = told["latest_version"]["openapi_schema"]["components"]["schemas"]
    assert schemas["Output"] == {**gives, "title": "Output"}


async def test_a_models_pages_change_by_flat_fields_and_by_links(served: Served) -> None:
    admin = await served.admin()
    await add_model(served, admin)
    flat = {name: f"https://example.com/{name}" for name in ("github_url", "weights_url", "cover_image_url")}

    async def change(**body: Any) -> dict[str, Any]:
        response = await served.http.patch("/v1/models/root/echo", json=body, headers=admin)
        assert response.status_code == 200, response.text
        changed: dict[str, Any] = response.json()
        return changed

    assert (await served.http.get("/v1/models/root/echo/readme")).status_code == 404
    model = await change(**flat, readme="# Echo", description="Says it again.")
    assert {name: model[name] for name in flat} == flat
    assert model["links"] == {name: flat[name] for name in ("github_url", "weights_url")}
    readme = await served.http.get("/v1/models/root/echo/readme", headers={"Accept": "text/plain"})
    assert (readme.text, readme.headers["content-type"]) == ("# Echo", "text/plain; charset=utf-8")

    model = await change(github_url=None, links={"paper_url": "https://example.com/p"}, cover_image_url=None)
    assert (model["github_url"], model["paper_url"]) == (None, "https://example.com/p")
    assert (model["cover_image_url"], model["weights_url"]) == (None, flat["weights_url"])
    assert model["description"] == "Says it again."


@pytest.mark.slow
async def test_words_find_models_the_best_first(served: Served) -> None:
    admin, bob = await served.admin(), await served.person("bob")
    await add_model(served, admin, name="tiny-llama", description="A small one.")
    await add_model(served, admin, name="llama", description="100% large.")
    await add_model(served, admin, name="other", readme="Unlike llama, it is small.")
    await add_model(served, admin, name="secret-llama", visibility="private")
    assert await names(served, "/v1/models?query=LLAMA") == ["llama", "tiny-llama", "other"]
    assert await names(served, "/v1/models?query=llama&limit=1") == ["llama"]
    assert await names(served, "/v1/models?query=small+llama", bob) == ["tiny-llama", "other"]
    assert await names(served, "/v1/models?query=root/llama", admin) == [
        "llama",
        "secret-llama",
        "tiny-llama",
        "other",
    ]
    assert await names(served, "/v1/models?query=100%25") == ["llama"]
    assert await names(served, "/v1/models?query=100_") == []
    assert len(await names(served, "/v1/models?query=")) == 3


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("text/plain", b"llama"),
        ("text/plain", b'"llama"'),
        ("application/json", b'"llama"'),
    ],
    ids=["python-1", "node", "python-2"],
)
async def test_the_query_method_takes_its_words_as_each_client_sends_them(
    served: Served, content_type: str, body: bytes
) -> None:
    admin = await served.admin()
    await add_model(served, admin, name="llama")
    await add_model(served, admin, name="other")
    answer = await served.http.request(
        "QUERY", "/v1/models", content=body, headers={"Content-Type": content_type}
    )
    assert answer.status_code == 200
    found = answer.json()
    assert [model["name"] for model in found["results"]] == ["llama"]
    assert (found["next"], found["previous"], found["data"][0]["id"]) == (None, None, "root/llama")
    for bad in (b"\xff", b"a\0b", b"x" * 1001):
        refused = await served.http.request("QUERY", "/v1/models", content=bad)
        assert refused.status_code == 422


@pytest.mark.slow
async def test_a_version_is_deleted_and_the_one_before_is_the_latest_again(served: Served) -> None:
    admin, ann = await served.admin(), await served.person("ann")
    first = await add_model(served, admin)
    second = await add_model(served, admin, version="2")
    url = "/v1/models/root/echo/versions"
    assert (await served.http.delete(f"{url}/2", headers=ann)).status_code == 403
    prediction = await ask(served, admin, version="root/echo:2")
    assert (await served.http.delete(f"{url}/2", headers=admin)).status_code == 409
    await served.http.post(f"/v1/predictions/{prediction['id']}/cancel", headers=admin)

    newest = second["latest_version"]["id"]
    assert (await served.http.delete(f"{url}/{newest}", headers=admin)).status_code == 204
    assert (await served.http.delete(f"{url}/{newest}", headers=admin)).status_code == 404
    model = await get(served, "/v1/models/root/echo")
    assert model["latest_version"] == first["latest_version"]
    assert (await look(served, admin, prediction["id"]))["model"] == "root/echo"

    assert (await served.http.delete(f"{url}/1", headers=admin)).status_code == 204
    assert (await get(served, "/v1/models/root/echo"))["latest_version"] is None
    await ask(served, admin, status=404)


@pytest.mark.slow
async def test_an_example_is_a_prediction_that_its_owner_shows_to_everybody(
    served: Served, database_url: str, redis_url: str
) -> None:
    admin, ann = await served.admin(), await served.person("ann")
    await add_model(served, admin)
    await add_model(served, admin, name="other")
    async with lane_by_hand(database_url, redis_url) as lane:
        done = await _done(served, admin, lane, webhook="https://example.com/secret")
        of_other = await _done(served, admin, lane, model="root/other")
        of_ann = await _done(served, ann, lane)
    waiting = await ask(served, admin)
    url = "/v1/models/root/echo"
    for bad in ("none", "0" * 26, waiting["id"], of_other, of_ann, "a\0b"):
        response = await served.http.patch(url, json={"default_example": bad}, headers=admin)
        assert response.status_code == 422, bad

    assert (await get(served, f"{url}/examples")) == {"results": [], "next": None, "previous": None}
    changed = await served.http.patch(url, json={"default_example": done}, headers=admin)
    example = changed.json()["default_example"]
    assert (example["id"], example["output"], example["model"]) == (done, "hello", "root/echo")
    assert example["urls"]["get"] == f"{BASE_URL}/v1/predictions/{done}"
    assert "secret" not in json.dumps(example)
    assert [one["id"] for one in (await get(served, f"{url}/examples"))["results"]] == [done]
    assert [
        (model["default_example"] or {}).get("id") for model in (await get(served, "/v1/models"))["results"]
    ] == [
        None,
        done,
    ]
    removed = await served.http.patch(url, json={"default_example": None}, headers=admin)
    assert removed.json()["default_example"] is None


async def _done(served: Served, headers: dict[str, str], lane: LaneByHand, **body: Any) -> str:
    prediction = await ask(served, headers, stream=False, **body)
    await lane.serve_when_asked()
    return str(prediction["id"])


async def test_what_a_deployment_runs_is_not_deleted(served: Served) -> None:
    admin = await served.admin()
    model = await add_model(served, admin)
    await add_model(served, admin, version="2")
    deployment = {
        "name": "mine",
        "model": "root/echo",
        "version": model["latest_version"]["id"],
        "hardware": "cpu",
        "min_instances": 0,
        "max_instances": 1,
    }
    assert (await served.http.post("/v1/deployments", json=deployment, headers=admin)).is_success
    for url in ("/v1/models/root/echo/versions/1", "/v1/models/root/echo"):
        response = await served.http.delete(url, headers=admin)
        assert response.status_code == 409
        assert "deployment" in response.json()["detail"]
    assert (await served.http.delete("/v1/deployments/root/mine", headers=admin)).is_success
    assert (await served.http.delete("/v1/models/root/echo", headers=admin)).status_code == 204
