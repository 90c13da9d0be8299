"""Models: registered, versioned, found, changed, deleted."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text

from api.credentials import Principal
from db.errors import NotFound
from db.repositories.transactions import write
from model_types import echo
from tests.api.asking import scalar
from tests.api.conftest import BASE_URL, Serve, Served

pytestmark = pytest.mark.anyio

GPT2: dict[str, Any] = {
    "name": "GPT-2",
    "description": "GPT-2 text generation model",
    "model_type": "text-generation",
    "version": "1.0.0",
    "model_path": "gpt2",
    "hardware": "cpu",
    "input_schema": {
        "prompt": {"type": "string", "description": "Text prompt for generation"},
        "max_length": {
            "type": "integer",
            "description": "Maximum length of generated text",
            "default": 100,
            "minimum": 1,
            "maximum": 1000,
        },
    },
}
ECHO: dict[str, Any] = {"name": "echo", "model_type": "echo", "model_path": "-"}
ADMIN = Principal("0" * 26, "root", "admin")


async def post(served: Served, headers: dict[str, str], status: int = 201, **body: Any) -> dict[str, Any]:
    response = await served.http.post("/v1/models", json=body, headers=headers)
    assert response.status_code == status, response.text
    return response.json()


async def test_the_originals_curl_lines_create_list_and_get_a_model(served: Served) -> None:
    model = await post(served, await served.admin(), **GPT2)
    assert {name: model[name] for name in GPT2 if name != "input_schema"} == {
        name: value for name, value in GPT2.items() if name != "input_schema"
    }
    assert model["owner"] == "root"
    assert model["visibility"] == "public"
    assert model["url"] == f"{BASE_URL}/v1/models/root/GPT-2"
    assert model["input_schema"] == {
        "type": "object",
        "properties": GPT2["input_schema"],
        "required": ["prompt"],
        "additionalProperties": False,
    }
    assert model["latest_version"]["label"] == "1.0.0"
    assert len(model["latest_version"]["id"]) == 64
    assert model["created_at"].endswith("Z")

    listed = await served.http.get("/v1/models")
    assert listed.json()["results"] == [model]
    assert model["id"] == "root/GPT-2"
    row_id = await scalar(served, "SELECT id FROM models")
    for name in (model["id"], "ROOT/gpt-2", "root%2FGPT-2", row_id):
        assert (await served.http.get(f"/v1/models/{name}")).json() == model


@pytest.mark.slow
async def test_a_version_is_the_digest_of_its_content(served: Served) -> None:
    admin = await served.admin()
    first = await post(served, admin, **GPT2)
    again = await post(served, admin, 200, **GPT2)
    assert again == first
    # Another name in another case is the same model; another order of the same schema the same version.
    reordered = {**GPT2, "input_schema": dict(reversed(GPT2["input_schema"].items())), "name": "gpt-2"}
    assert (await post(served, admin, 200, **reordered))["latest_version"] == first["latest_version"]

    ids = {first["latest_version"]["id"]}
    for change in (
        {"version": "1.0.1"},
        {"model_path": "gpt2-medium"},
        {"revision": "abc"},
        {"hardware": "gpu"},
        {"options": {"dtype": "float16"}},
        {"input_schema": None},
        {"name": "other"},
    ):
        ids.add((await post(served, admin, **{**GPT2, **change}))["latest_version"]["id"])
    assert len(ids) == 8


async def test_a_new_version_becomes_the_latest_and_the_old_ones_stay(served: Served) -> None:
    admin = await served.admin()
    first = await post(served, admin, **GPT2)
    second = await post(served, admin, **{**GPT2, "version": "2.0.0", "description": "better"})
    assert second["id"] == first["id"]
    assert (second["version"], second["description"]) == ("2.0.0", "better")

    url = "/v1/models/root/GPT-2/versions"
    listed = (await served.http.get(url)).json()["results"]
    assert [version["label"] for version in listed] == ["2.0.0", "1.0.0"]
    assert listed[1] == first["latest_version"]
    for name in (first["latest_version"]["id"], "1.0.0"):
        assert (await served.http.get(f"{url}/{name}")).json() == first["latest_version"]
    assert (await served.http.get(f"{url}/3.0.0")).status_code == 404


async def test_versions_come_in_pages(served: Served) -> None:
    admin = await served.admin()
    for number in range(5):
        await post(served, admin, **{**ECHO, "version": str(number)})
    url: str | None = "/v1/models/root/echo/versions?limit=2"
    seen = []
    while url:
        page = (await served.http.get(url)).json()
        seen += [version["label"] for version in page["results"]]
        last, url = page, page["next"]
    assert seen == ["4", "3", "2", "1", "0"]
    before = (await served.http.get(last["previous"])).json()
    assert [version["label"] for version in before["results"]] == ["2", "1"]


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"model_type": "oracle"}, "model_type", "text-generation"),
        ({"engine": "steam"}, "engine", "transformers"),
        ({"options": {"max_batch": 0}}, "options.max_batch", "should be greater than 0"),
        ({"options": {"pin": True, "ttl_seconds": 5}}, "options", "what is pinned has no ttl_seconds"),
        ({"name": "a/b"}, "name", ""),
        ({"name": ".hidden"}, "name", ""),
        ({"name": "x" * 101}, "name", ""),
        ({"model_path": ""}, "model_path", ""),
        ({"description": "a\0b"}, "description", "NUL"),
        ({"input_schema": {"promt": {"type": "string"}}}, "input_schema.promt", "prompt"),
        ({"input_schema": {"prompt": {"type": "text"}}}, "input_schema.prompt.type", "valid schema"),
        ({"input_schema": {"prompt": "string"}}, "input_schema.prompt", "schema"),
        ({"options": {"x": "y" * 70_000}}, "options", "longer"),
        ({"colour": "red"}, "colour", ""),
    ],
)
async def test_a_model_that_does_not_fit_is_refused_and_the_field_named(
    served: Served, change: dict[str, Any], field: str, words: str
) -> None:
    problem = await post(served, await served.admin(), 422, **{**GPT2, **change})
    assert [error["field"] for error in problem["errors"]] == [field]
    assert words in problem["errors"][0]["message"]
    assert (await served.http.get("/v1/models")).json()["results"] == []


async def test_users_register_models_only_where_a_setting_opens_it(serve: Serve) -> None:
    async with serve() as closed, serve(model_creation="users") as open_one:
        ann = await closed.person("Ann")
        await post(closed, ann, 403, **ECHO)
        await post(open_one, ann, 403, **ECHO, owner="bob")
        assert (await post(open_one, ann, **ECHO))["owner"] == "Ann"
        assert (await closed.http.post("/v1/models", json=ECHO)).status_code == 401


async def test_a_private_model_is_seen_by_its_owner_and_administrators_only(served: Served) -> None:
    admin, ann, bob = await served.admin(), await served.person("ann"), await served.person("bob")
    model = await post(served, admin, **ECHO, owner="ann", visibility="private")
    for url in (f"/v1/models/{model['id']}", "/v1/models/ann/echo", "/v1/models/ann/echo/versions"):
        assert (await served.http.get(url, headers=ann)).status_code == 200
        assert (await served.http.get(url, headers=admin)).status_code == 200
        assert (await served.http.get(url, headers=bob)).status_code == 404
        assert (await served.http.get(url)).status_code == 404
    for headers, count in ((ann, 1), (admin, 1), (bob, 0), ({}, 0)):
        listed = (await served.http.get("/v1/models", headers=headers)).json()
        assert len(listed["results"]) == count
    versions = served.gateway.versions
    assert await versions.resolve("ann/echo", Principal("1" * 26, "Ann", "user"))
    with pytest.raises(NotFound):
        await versions.resolve("ann/echo", Principal("2" * 26, "bob", "user"))


async def test_only_its_owner_and_administrators_change_a_model(served: Served) -> None:
    admin, ann, bob = await served.admin(), await served.person("ann"), await served.person("bob")
    model = await post(served, admin, **ECHO, owner="ann")
    change = {"description": "new", "links": {"github_url": "https://example.com/x"}}
    by_name = "/v1/models/ann/echo"
    by_id = f"/v1/models/{await scalar(served, 'SELECT id FROM models')}"
    assert (await served.http.patch(by_id, json=change, headers=bob)).status_code == 403
    assert (await served.http.patch(by_id, json=change)).status_code == 401
    changed = (await served.http.patch(by_id, json=change, headers=ann)).json()
    assert (changed["description"], changed["links"]) == ("new", change["links"])
    assert changed["updated_at"] > model["updated_at"]
    assert changed["latest_version"] == model["latest_version"]
    change = {"visibility": "private", "links": {"github_url": None, "paper_url": "https://example.com/p"}}
    changed = (await served.http.patch(by_name, json=change, headers=admin)).json()
    assert (changed["description"], changed["visibility"]) == ("new", "private")
    assert changed["links"] == {"paper_url": "https://example.com/p"}
    for bad in ({"links": {"github_url": "javascript:alert(1)"}}, {"version": "2"}, {"visibility": "secret"}):
        assert (await served.http.patch(by_id, json=bad, headers=ann)).status_code == 422


async def test_a_model_is_deleted_when_nothing_waits_for_it(served: Served) -> None:
    admin, ann = await served.admin(), await served.person("ann")
    model = await post(served, admin, **ECHO)
    url = f"/v1/models/{await scalar(served, 'SELECT id FROM models')}"
    version_id = model["latest_version"]["id"]
    async with write(served.gateway.engine) as session:
        await session.execute(
            text(
                "INSERT INTO queue (id, pool, version_id, owner_id, rank)"
                " VALUES ('p', 'echo', :version, 'o', 0)"
            ),
            {"version": version_id},
        )
    assert await served.gateway.versions.resolve(version_id, ADMIN)
    assert (await served.http.delete(url, headers=ann)).status_code == 403
    assert (await served.http.delete(url, headers=admin)).status_code == 409
    async with write(served.gateway.engine) as session:
        await session.execute(text("DELETE FROM queue"))
    assert (await served.http.delete("/v1/models/root/echo", headers=admin)).status_code == 204
    assert (await served.http.delete(url, headers=admin)).status_code == 404
    assert (await served.http.get(url)).status_code == 404
    with pytest.raises(NotFound):
        await served.gateway.versions.resolve(version_id, ADMIN)


async def test_models_come_in_pages_the_newest_first(served: Served) -> None:
    admin = await served.admin()
    for number in range(5):
        await post(served, admin, **{**ECHO, "name": f"m{number}"})

    async def page(url: str) -> tuple[list[str], str | None, str | None]:
        body = (await served.http.get(url)).json()
        return [model["name"] for model in body["results"]], body["next"], body["previous"]

    names, second, none = await page("/v1/models?limit=2")
    assert (names, none) == (["m4", "m3"], None)
    assert second
    assert second.startswith(f"{BASE_URL}/v1/models?limit=2&cursor=")
    names, third, first = await page(second)
    assert names == ["m2", "m1"]
    assert third
    assert first
    assert await page(first) == (["m4", "m3"], second, None)
    names, none, back = await page(third)
    assert (names, none) == (["m0"], None)
    assert back
    assert (await page(back))[0] == ["m2", "m1"]


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "cursor=x", "cursor=bjEy", "cursor="])
async def test_a_page_that_is_none_is_refused_and_the_parameter_named(served: Served, query: str) -> None:
    response = await served.http.get(f"/v1/models?{query}")
    assert response.status_code == 422
    assert [error["field"] for error in response.json()["errors"]] == [query.split("=")[0]]


async def test_the_next_page_keeps_filters_and_uses_the_public_url(serve: Serve) -> None:
    async with serve(public_url="https://models.example/augury/") as served:
        admin = await served.admin()
        for number in range(2):
            model = await post(served, admin, **{**ECHO, "name": f"m{number}"})
        assert model["url"] == "https://models.example/augury/v1/models/root/m1"
        link = (await served.http.get("/v1/models?limit=1&tag=a%26b")).json()["next"]
        assert link.startswith("https://models.example/augury/v1/models?limit=1&tag=a%26b&cursor=")


async def test_a_version_is_found_by_all_its_names(served: Served) -> None:
    admin = await served.admin()
    first = await post(served, admin, **ECHO)
    second = await post(served, admin, **{**ECHO, "version": "two"})
    old, new = first["latest_version"]["id"], second["latest_version"]["id"]
    row_id = await scalar(served, "SELECT id FROM models")
    resolve = served.gateway.versions.resolve
    for reference, expected in {
        row_id: new,
        "root/echo": new,
        "Root/ECHO": new,
        "Echo": new,
        "echo:two": new,
        f"root/echo:{old}": old,
        "root/echo:1.0.0": old,
        "root/echo:two": new,
        old: old,
    }.items():
        version = await resolve(reference, ADMIN)
        assert (version.version_id, version.model_id) == (expected, row_id)
        assert (version.owner, version.name, version.model_type) == ("root", "echo", "echo")
        assert version.info is echo.INFO
        assert await resolve(reference, ADMIN) is version
    for unknown in (
        "root/none",
        "root/echo:three",
        "0" * 64,
        "0" * 26,
        "none",
        "/echo",
        "",
        "a/b/c",
        "a\0/b",
        "/" * 999,
    ):
        with pytest.raises(NotFound, match="no model or version"):
            await resolve(unknown, ADMIN)


async def test_a_new_version_serves_at_once_under_the_models_name(served: Served) -> None:
    admin = await served.admin()
    await post(served, admin, **ECHO)
    before = await served.gateway.versions.resolve("root/echo", ADMIN)
    newer = await post(served, admin, **{**ECHO, "version": "2"})
    after = await served.gateway.versions.resolve("root/echo", ADMIN)
    assert after.version_id == newer["latest_version"]["id"] != before.version_id
