"""What is in memory, as the API tells it, and how administrators order it in and out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, text

from db import lanes
from db.repositories.versions import Order, note_available, note_unavailable, take_orders
from db.session import sync_engine
from db.settings import DatabaseSettings
from tests.api.asking import add_model
from tests.api.conftest import Served

pytestmark = pytest.mark.anyio

NAMES = ("left", "middle", "right")
URL = "/v1/models/root/echo"


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """What lanes see of the database."""
    engine = sync_engine(DatabaseSettings(database_url=database_url))
    yield engine
    engine.dispose()


@pytest.fixture
def three_lanes(engine: Engine) -> None:
    """Three lanes of the echo pool, which do nothing by themselves."""
    for slot, name in enumerate(NAMES):
        lanes.register(engine, lanes.LaneInfo(name, "worker", slot, "here", slot, ["echo"]))


def hold(engine: Engine, lane: str, *versions: str) -> None:
    assert lanes.beat(engine, lane, finished=0, resident=versions)


def orders(engine: Engine) -> dict[str, list[Order]]:
    """What each lane is to do; they take it."""
    return {name: found for name in NAMES if (found := take_orders(engine, name))}


async def post(served: Served, headers: dict[str, str], path: str, status: int = 202, **body: Any) -> Any:
    response = await served.http.post(path, json=body, headers=headers)
    assert response.status_code == status, response.text
    return response.json()


async def test_a_model_says_how_many_live_lanes_hold_it(
    served: Served, engine: Engine, three_lanes: None
) -> None:
    model = await add_model(served, await served.admin())
    assert model["state"] == {"status": "not_loaded", "lanes": 0, "reason": None}
    for lane in NAMES[:2]:
        hold(engine, lane, model["latest_version"]["id"], "another")
    loaded = {"status": "loaded", "lanes": 2, "reason": None}
    seen = (await served.http.get(URL)).json()
    assert seen["state"] == seen["latest_version"]["state"] == loaded
    assert (await served.http.get("/v1/models")).json()["results"][0]["state"] == loaded
    assert (await served.http.get(f"{URL}/versions/1")).json()["state"] == loaded

    with engine.connect() as connection:
        connection.execute(text("UPDATE lanes SET last_seen = now() - interval '1 hour' WHERE id = 'left'"))
    assert (await served.http.get(URL)).json()["state"]["lanes"] == 1


async def test_a_version_that_could_not_be_loaded_says_why_until_it_could(
    served: Served, engine: Engine
) -> None:
    model = await add_model(served, await served.admin())
    version = model["latest_version"]["id"]
    note_unavailable(engine, version, "disk on fire")
    note_unavailable(engine, version, "/models/echo has no config.json")
    note_unavailable(engine, "0" * 64, "nobody knows this version")
    state = (await served.http.get(URL)).json()["state"]
    assert state == {"status": "unavailable", "lanes": 0, "reason": "/models/echo has no config.json"}
    note_available(engine, version, dimensions=None)
    assert (await served.http.get(URL)).json()["state"]["status"] == "not_loaded"


async def test_a_version_is_loaded_where_there_is_most_room_and_only_as_often_as_asked(
    served: Served, engine: Engine, three_lanes: None
) -> None:
    admin = await served.admin()
    version = (await add_model(served, admin))["latest_version"]["id"]
    hold(engine, "left", "another")
    for _ in range(2):
        await post(served, admin, f"{URL}/load")
    assert orders(engine) == {"middle": [Order(version, "load")]}
    hold(engine, "middle", version)
    assert (await post(served, admin, f"{URL}/load"))["status"] == "loaded"
    assert orders(engine) == {}
    await post(served, admin, f"{URL}/load", lanes=2)
    assert orders(engine) == {"right": [Order(version, "load")]}
    await post(served, admin, f"{URL}/load", lanes=50)
    assert orders(engine) == {lane: [Order(version, "load")] for lane in ("left", "right")}


async def test_an_older_version_can_be_loaded_by_its_label(
    served: Served, engine: Engine, three_lanes: None
) -> None:
    admin = await served.admin()
    older = (await add_model(served, admin))["latest_version"]["id"]
    await add_model(served, admin, version="2")
    await post(served, admin, f"{URL}/load", version="1")
    assert orders(engine) == {"left": [Order(older, "load")]}
    await post(served, admin, f"{URL}/load", 404, version="3")


async def test_unloading_reaches_every_lane_and_takes_the_place_of_loading(
    served: Served, engine: Engine, three_lanes: None
) -> None:
    admin = await served.admin()
    version = (await add_model(served, admin))["latest_version"]["id"]
    await post(served, admin, f"{URL}/load")
    await post(served, admin, f"{URL}/unload")
    assert orders(engine) == {lane: [Order(version, "unload")] for lane in NAMES}
    await post(served, admin, f"{URL}/unload")
    await post(served, admin, f"{URL}/load")
    assert orders(engine) == {"left": [Order(version, "load")]}


async def test_a_deleted_models_versions_leave_the_lanes(
    served: Served, engine: Engine, three_lanes: None
) -> None:
    admin = await served.admin()
    version = (await add_model(served, admin))["latest_version"]["id"]
    hold(engine, "right", version)
    assert (await served.http.delete(URL, headers=admin)).status_code == 204
    assert orders(engine)["right"] == [Order(version, "unload")]


async def test_orders_go_with_the_lane_that_they_were_for(
    served: Served, engine: Engine, three_lanes: None
) -> None:
    admin = await served.admin()
    await add_model(served, admin)
    await post(served, admin, f"{URL}/load")
    lanes.retire(engine, "left")
    assert orders(engine) == {}


async def test_where_no_lane_serves_the_pool_nothing_can_be_loaded(served: Served) -> None:
    admin = await served.admin()
    await add_model(served, admin)
    refused = await post(served, admin, f"{URL}/load", 503)
    assert refused["detail"] == "no lane serves echo now"


async def test_only_administrators_load_and_unload(served: Served, three_lanes: None) -> None:
    await add_model(served, await served.admin())
    ann = await served.person("ann")
    for action in ("load", "unload"):
        await post(served, ann, f"{URL}/{action}", 403)


async def test_what_was_registered_before_becomes_the_latest_again(served: Served) -> None:
    admin = await served.admin()
    first = await add_model(served, admin, description="first")
    second = await add_model(served, admin, version="2", description="second")
    assert second["latest_version"]["id"] != first["latest_version"]["id"]
    body = {"name": "echo", "model_type": "echo", "model_path": "-", "version": "1", "description": "third"}
    again = await served.http.post("/v1/models", json=body, headers=admin)
    assert again.status_code == 200
    seen = (await served.http.get(URL)).json()
    assert (seen["version"], seen["description"]) == ("1", "third")
    assert seen["latest_version"] == first["latest_version"]


async def test_administrators_see_the_lanes_and_what_they_hold(
    served: Served, engine: Engine, three_lanes: None
) -> None:
    hold(engine, "middle", "a", "b")
    with engine.connect() as connection:
        connection.execute(text("UPDATE lanes SET last_seen = now() - interval '1 hour' WHERE id = 'left'"))
    admin = await served.admin()
    seen = (await served.http.get("/v1/lanes", headers=admin)).json()["results"]
    assert [(lane["id"], lane["host"], lane["slot"], lane["versions"]) for lane in seen] == [
        ("middle", "here", 1, ["a", "b"]),
        ("right", "here", 2, []),
    ]
    assert seen[0]["pools"] == ["echo"]
    ann = await served.person("ann")
    assert (await served.http.get("/v1/lanes", headers=ann)).status_code == 403
    assert (await served.http.get("/v1/lanes")).status_code == 401
