"""Predictions looked at, listed and cancelled, each by those who may."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import urlencode

import pytest
from sqlalchemy import text

from tests.api.asking import add_model, ask, cancel, lane_by_hand, look, scalar, settled
from tests.api.conftest import BASE_URL, Served

pytestmark = pytest.mark.anyio


async def page(served: Served, headers: dict[str, str], url: str = "/v1/predictions") -> dict[str, Any]:
    response = await served.http.get(url, headers=headers)
    assert response.status_code == 200, response.text
    return response.json()


def ids(listed: dict[str, Any]) -> list[str]:
    return [one["id"] for one in listed["results"]]


async def test_a_list_has_ones_own_newest_first_and_administrators_see_all(served: Served) -> None:
    root, ann, bob = await served.admin(), await served.person("ann"), await served.person("bob")
    await add_model(served, root)
    anns = [(await ask(served, ann))["id"] for _ in range(2)]
    bobs = [(await ask(served, bob))["id"] for _ in range(2)]
    assert ids(await page(served, ann)) == anns[::-1]
    assert ids(await page(served, bob)) == bobs[::-1]
    assert ids(await page(served, root)) == (anns + bobs)[::-1]
    nobody = await served.person("nobody")
    assert await page(served, nobody) == {"results": [], "next": None, "previous": None}


@pytest.mark.slow
async def test_pages_lead_there_and_back_again_although_new_ones_come(served: Served) -> None:
    root = await served.admin()
    await add_model(served, root)
    made = [(await ask(served, root))["id"] for _ in range(5)][::-1]
    first = await page(served, root, "/v1/predictions?limit=2")
    assert ids(first) == made[:2]
    assert first["previous"] is None
    assert first["next"].startswith(f"{BASE_URL}/v1/predictions?limit=2&cursor=")
    newcomer = (await ask(served, root))["id"]
    second = await page(served, root, first["next"])
    third = await page(served, root, second["next"])
    assert (ids(second), ids(third)) == (made[2:4], made[4:])
    assert third["next"] is None
    assert ids(await page(served, root, third["previous"])) == made[2:4]
    back = await page(served, root, second["previous"])
    assert ids(back) == made[:2]
    newest = await page(served, root, back["previous"])
    assert ids(newest) == [newcomer]
    assert newest["previous"] is None


async def test_a_list_is_of_the_time_and_the_source_that_were_asked_for(served: Served) -> None:
    ann = await served.person("ann")
    root = await served.admin()
    await add_model(served, root)
    made = []
    for _ in range(4):
        made.append(await ask(served, ann))
        await asyncio.sleep(0.005)
    first, second, third, fourth = (one["id"] for one in made)
    async with served.gateway.engine.connect() as connection:
        await connection.execute(text("UPDATE predictions SET source = 'web' WHERE id = :id"), {"id": third})

    async def listed(**query: str) -> list[str]:
        return ids(await page(served, ann, f"/v1/predictions?{urlencode(query)}"))

    since, until = made[1]["created_at"], made[3]["created_at"]
    assert await listed(created_after=since) == [fourth, third, second]
    assert await listed(created_before=until) == [third, second, first]
    assert await listed(created_after=since, created_before=until, source="api") == [second]
    assert await listed(source="web") == [third]
    in_another_zone = datetime.fromisoformat(since).astimezone(timezone(timedelta(hours=5))).isoformat()
    assert await listed(created_after=in_another_zone) == [fourth, third, second]
    assert await listed(created_after=since.removesuffix("Z")) == [fourth, third, second]
    assert await listed(created_after="1066-10-14") == await listed(created_before="9999-12-31")
    assert await listed(created_before="1066-10-14") == []


async def test_pages_keep_what_was_asked_for(served: Served) -> None:
    root = await served.admin()
    await add_model(served, root)
    made = [await ask(served, root) for _ in range(4)]
    query = urlencode({"created_before": made[3]["created_at"], "source": "api", "limit": 2})
    newest = await page(served, root, f"/v1/predictions?{query}")
    assert newest["next"].startswith(f"{BASE_URL}/v1/predictions?created_before=")
    rest = await page(served, root, newest["next"])
    assert ids(newest) + ids(rest) == [one["id"] for one in made[2::-1]]
    assert (await page(served, root, rest["previous"]))["results"] == newest["results"]


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=101",
        "limit=x",
        "cursor=nonsense",
        "cursor=%00",
        "created_after=yesterday",
        "created_before=",
        "source=both",
    ],
)
async def test_a_page_that_does_not_exist_is_refused(served: Served, query: str) -> None:
    response = await served.http.get(f"/v1/predictions?{query}", headers=await served.admin())
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == query.partition("=")[0]


async def test_a_list_shows_what_each_prediction_shows_itself(
    served: Served, database_url: str, redis_url: str
) -> None:
    root = await served.admin()
    await add_model(served, root)
    await ask(served, root)
    async with lane_by_hand(database_url, redis_url) as lane:
        await lane.finish(await lane.claim())
        await ask(served, root)
        await lane.claim()
        await ask(served, root)
    listed = (await page(served, root))["results"]
    assert [one["status"] for one in listed] == ["starting", "processing", "succeeded"]
    assert [settled(one) for one in listed] == [await look(served, root, one["id"]) for one in listed]


async def test_anothers_prediction_does_not_exist(served: Served) -> None:
    root, ann, bob = await served.admin(), await served.person("ann"), await served.person("bob")
    await add_model(served, root)
    made = await ask(served, ann)
    for method, path in (("GET", ""), ("POST", "/cancel")):
        response = await served.http.request(method, f"/v1/predictions/{made['id']}{path}", headers=bob)
        assert response.status_code == 404
        assert response.json()["detail"] == f"there is no prediction '{made['id']}'"
    assert await look(served, ann, made["id"]) == made
    assert await look(served, root, made["id"]) == made
    assert (await cancel(served, root, made["id"]))["status"] == "canceled"


async def test_an_id_that_nobody_has_is_not_found(served: Served) -> None:
    root = await served.admin()
    for identifier in (
        "0" * 26,
        "x",
        "%00" * 26,
        "é" * 26,
        "%ff" * 26,
        "z" * 3000,
        "'; DROP TABLE queue; --",
    ):
        for method, path in (("GET", ""), ("POST", "/cancel")):
            response = await served.http.request(method, f"/v1/predictions/{identifier}{path}", headers=root)
            assert response.status_code == 404, identifier
            assert len(response.json()["detail"]) < 400


async def test_a_cancelled_prediction_never_reaches_a_lane(
    served: Served, database_url: str, redis_url: str
) -> None:
    root = await served.admin()
    await add_model(served, root)
    made, other = await ask(served, root), await ask(served, root)
    canceled = await cancel(served, root, made["id"])
    assert canceled["status"] == "canceled"
    assert canceled["completed_at"] is not None
    assert (canceled["started_at"], canceled["output"], canceled["attempts"]) == (None, None, 0)
    assert canceled["metrics"].keys() == {"total_time"}
    async with lane_by_hand(database_url, redis_url) as lane:
        assert [lease.id for lease in await lane.claim()] == [other["id"]]
    assert await look(served, root, made["id"]) == canceled


async def test_a_running_prediction_is_canceled_at_once_and_what_the_lane_brings_later_is_discarded(
    served: Served, database_url: str, redis_url: str
) -> None:
    root = await served.admin()
    await add_model(served, root)
    made = await ask(served, root, webhook="https://example.org/hook")
    async with lane_by_hand(database_url, redis_url) as lane:
        leases = await lane.claim()
        canceled = await cancel(served, root, made["id"])
        await lane.finish(leases)
    assert (canceled["status"], canceled["attempts"]) == ("canceled", 1)
    assert canceled["started_at"] is not None
    assert await look(served, root, made["id"]) == canceled
    assert await scalar(served, "SELECT count(*) FROM webhook_deliveries") == 1


async def test_cancelling_what_has_ended_changes_nothing(
    served: Served, database_url: str, redis_url: str
) -> None:
    root = await served.admin()
    await add_model(served, root)
    made = await ask(served, root)
    async with lane_by_hand(database_url, redis_url) as lane:
        await lane.finish(await lane.claim())
    done = await cancel(served, root, made["id"])
    assert (done["status"], done["output"]) == ("succeeded", "hello")
    assert await look(served, root, made["id"]) == done
    second = await ask(served, root)
    canceled = await cancel(served, root, second["id"])
    assert await cancel(served, root, second["id"]) == canceled
