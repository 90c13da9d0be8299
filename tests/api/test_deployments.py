"""Deployments over HTTP: a version of a model with a queue of its own."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.asking import Headers, add_model, ask, cancel, look, scalar
from tests.api.conftest import Serve, Served

pytestmark = pytest.mark.anyio


async def deploy(
    served: Served, headers: Headers, *, status: int = 200, version: str | None = None, **changes: Any
) -> dict[str, Any]:
    """Deploy the model `root/echo` in its present version unless said otherwise; the answer's body."""
    if version is None:
        model = await served.http.get("/v1/models/root/echo", headers=headers)
        version = model.json()["latest_version"]["id"]
    body = {
        "name": "mine",
        "model": "root/echo",
        "version": version,
        "hardware": "cpu",
        "min_instances": 0,
        "max_instances": 2,
    }
    response = await served.http.post("/v1/deployments", json=body | changes, headers=headers)
    assert response.status_code == status, response.text
    return response.json()


async def call(
    served: Served,
    headers: Headers,
    method: str,
    path: str = "root/mine",
    *,
    status: int = 200,
    **options: Any,
) -> Any:
    """Call a deployment's URL; the answer's body."""
    response = await served.http.request(method, f"/v1/deployments/{path}", headers=headers, **options)
    assert response.status_code == status, response.text
    return response.json() if response.content else None


async def predict(served: Served, headers: Headers, *, status: int = 201, **body: Any) -> dict[str, Any]:
    return await call(
        served,
        headers,
        "POST",
        "root/mine/predictions",
        status=status,
        json={"input": {"text": "hello"}} | body,
    )


async def test_a_deployment_is_what_replicates_clients_expect(served: Served) -> None:
    root = await served.admin()
    model = await add_model(served, root)
    made = await deploy(served, root)
    release = made["current_release"]
    assert (made["owner"], made["name"]) == ("root", "mine")
    assert release.pop("created_at").endswith("Z")
    assert release == {
        "number": 1,
        "model": "root/echo",
        "version": model["latest_version"]["id"],
        "created_by": {"type": "user", "username": "root", "name": "root"},
        "configuration": {"hardware": "cpu", "min_instances": 0, "max_instances": 2},
    }
    again = await call(served, root, "GET", "ROOT/Mine")
    assert again["current_release"]["number"] == 1
    listed = await served.http.get("/v1/deployments", headers=root)
    assert listed.json() == {"results": [again], "next": None, "previous": None}


async def test_a_prediction_through_a_deployment_waits_in_its_own_queue_for_its_types_lanes(
    served: Served,
) -> None:
    root = await served.admin()
    await add_model(served, root)
    version = (await deploy(served, root))["current_release"]["version"]
    asked = await predict(served, root)
    assert asked["deployment"] == "root/mine"
    assert asked["version"] == version
    assert (await look(served, root, asked["id"]))["deployment"] == "root/mine"
    pool = await scalar(served, "SELECT pool FROM queue")
    assert pool == await scalar(served, "SELECT pool FROM deployments")
    assert pool.startswith("echo@")
    assert await scalar(served, "SELECT virtual_time FROM pool_clocks") == 0
    bells = await served.gateway.redis.llen("echo")
    assert bells == 1


async def test_a_full_public_queue_leaves_room_in_a_deployments(serve: Serve) -> None:
    async with serve(backlog_per_pool=1) as served:
        root = await served.admin()
        await add_model(served, root)
        await deploy(served, root)
        await served.gateway.backlog.refresh()
        await ask(served, root)
        await ask(served, root, status=429)
        await predict(served, root)
        refused = await predict(served, root, status=429)
        assert refused["detail"] == "1 predictions of this deployment wait already"


async def test_a_change_makes_a_release_that_new_predictions_run(served: Served) -> None:
    root = await served.admin()
    old = (await add_model(served, root))["latest_version"]["id"]
    await deploy(served, root)
    before = await predict(served, root)
    new = (await add_model(served, root, version="2"))["latest_version"]["id"]
    changed = await call(served, root, "PATCH", json={"version": new, "max_instances": 5})
    assert changed["current_release"]["number"] == 2
    assert changed["current_release"]["version"] == new
    assert changed["current_release"]["configuration"]["max_instances"] == 5
    after = await predict(served, root)
    assert (before["version"], after["version"]) == (old, new)
    same = await call(served, root, "PATCH", json={"version": "2", "hardware": "cpu"})
    assert same == changed


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": "a/b"}, "name"),
        ({"model": "echo"}, "model"),
        ({"version": "no such"}, "version"),
        ({"min_instances": 3}, "min_instances"),
        ({"max_instances": -1}, "max_instances"),
        ({"replicas": 1}, "replicas"),
    ],
)
async def test_what_does_not_fit_is_refused_by_its_field(
    served: Served, changes: dict[str, Any], field: str
) -> None:
    root = await served.admin()
    await add_model(served, root)
    refused = await deploy(served, root, status=422, **changes)
    assert [error["field"] for error in refused["errors"]] == [field]
    if field in ("min_instances", "max_instances", "version"):
        await deploy(served, root)
        refused = await call(served, root, "PATCH", status=422, json=changes)
        assert [error["field"] for error in refused["errors"]] == [field]


async def test_a_deployment_stays_with_its_model_type(served: Served) -> None:
    root = await served.admin()
    await add_model(served, root)
    await deploy(served, root)
    other = await add_model(
        served, root, version="2", model_type="text-generation", model_path="nobody/nothing"
    )
    refused = await call(served, root, "PATCH", status=422, json={"version": other["latest_version"]["id"]})
    assert refused["errors"][0]["message"] == "must be of the same model type as before, echo"


async def test_names_are_taken_once_by_each_owner(serve: Serve) -> None:
    async with serve(model_creation="users") as served:
        root, ann = await served.admin(), await served.person("ann")
        await add_model(served, root)
        await deploy(served, root)
        assert (await deploy(served, root, status=409, name="MINE"))["errors"][0]["field"] == "name"
        assert (await deploy(served, ann))["owner"] == "ann"


async def test_a_deployment_is_its_owners_and_nobody_elses(serve: Serve) -> None:
    async with serve(model_creation="users") as served:
        root, ann, bob = await served.admin(), await served.person("ann"), await served.person("bob")
        await add_model(served, root)
        await deploy(served, ann)
        for method, path in (
            ("GET", "ann/mine"),
            ("PATCH", "ann/mine"),
            ("DELETE", "ann/mine"),
            ("POST", "ann/mine/predictions"),
        ):
            body = {"input": {"text": "x"}} if method == "POST" else {}
            await call(served, bob, method, path, status=404, json=body)
        assert (await served.http.get("/v1/deployments", headers=bob)).json()["results"] == []
        assert (await call(served, root, "GET", "ann/mine"))["owner"] == "ann"
        assert len((await served.http.get("/v1/deployments", headers=root)).json()["results"]) == 1


async def test_who_may_not_register_models_may_not_deploy_them_either(served: Served) -> None:
    root, ann = await served.admin(), await served.person("ann")
    await add_model(served, root)
    refused = await deploy(served, ann, status=403)
    assert refused["detail"] == "only administrators may deploy models here"


async def test_a_private_model_of_others_cannot_be_deployed(serve: Serve) -> None:
    async with serve(model_creation="users") as served:
        root, ann = await served.admin(), await served.person("ann")
        model = await add_model(served, root, visibility="private")
        await deploy(served, ann, status=404, version=model["latest_version"]["id"])


@pytest.mark.slow
async def test_a_deployment_goes_when_none_of_its_predictions_waits_or_runs(served: Served) -> None:
    root = await served.admin()
    await add_model(served, root)
    await deploy(served, root)
    asked = await predict(served, root)
    refused = await call(served, root, "DELETE", status=409)
    assert refused["detail"] == "predictions of it wait or run; cancel them or let them finish"
    await cancel(served, root, asked["id"])
    await call(served, root, "DELETE", status=204)
    await call(served, root, "GET", status=404)
    assert (await look(served, root, asked["id"]))["deployment"] == "root/mine"
    for table in ("pool_clocks", "owner_clocks"):
        assert await scalar(served, f"SELECT count(*) FROM {table}") == 0


async def test_what_a_deployment_runs_is_not_deleted_under_it(served: Served) -> None:
    root = await served.admin()
    await add_model(served, root)
    await deploy(served, root)
    refused = await served.http.delete("/v1/models/root/echo", headers=root)
    assert refused.status_code == 409
    assert "deployment" in refused.json()["detail"]
    await call(served, root, "DELETE", status=204)
    assert (await served.http.delete("/v1/models/root/echo", headers=root)).status_code == 204


async def test_what_waits_in_a_deployments_queue_keeps_its_model_after_a_change(served: Served) -> None:
    root = await served.admin()
    await add_model(served, root)
    await deploy(served, root)
    await predict(served, root)
    other = await add_model(served, root, version="2")
    await call(served, root, "PATCH", json={"version": other["latest_version"]["id"]})
    refused = await served.http.delete("/v1/models/root/echo", headers=root)
    assert refused.status_code == 409
    assert "predictions" in refused.json()["detail"]


async def test_the_deployment_alone_says_what_it_runs(served: Served) -> None:
    root = await served.admin()
    await add_model(served, root)
    await deploy(served, root)
    refused = await predict(served, root, status=422, version="root/echo")
    assert refused["errors"] == [{"field": "version", "message": "is the deployment's to say"}]


async def test_a_gateway_is_ready_when_there_are_lanes_for_its_deployments_too(served: Served) -> None:
    root = await served.admin()
    await add_model(served, root)
    await deploy(served, root)
    await add_model(served, root, version="2", model_type="text-generation", model_path="nobody/nothing")
    checks = (await served.http.get("/ready")).json()["checks"]
    assert checks["lanes"] == {"echo": 0, "text-generation": 0}


@pytest.mark.slow
async def test_metrics_tell_a_deployments_queue_from_its_types(served: Served) -> None:
    root = await served.admin()
    await add_model(served, root)
    await deploy(served, root)
    await ask(served, root)
    await predict(served, root)
    await predict(served, root)
    told = (await served.http.get("/metrics", headers=root)).text
    assert 'augury_predictions_waiting{pool="echo"} 1.0' in told
    assert 'augury_predictions_waiting{deployment="root/mine",pool="echo"} 2.0' in told
