"""Whether it lives and whether it can work; what happens without its servers, and when they are back."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import psycopg
import pytest

from api.gateway import Gateway
from api.services.health import LOOK_SECONDS, Readiness, readiness
from cli.postgres import EmbeddedPostgres
from tests.api.conftest import Serve, Served

pytestmark = pytest.mark.anyio

ECHO = {"name": "echo", "model_type": "echo", "model_path": "-"}
NOBODY_LISTENS = "postgresql://nobody@127.0.0.1:9/none"


async def ready(served: Served) -> tuple[int, dict[str, Any]]:
    response = await served.http.get("/ready")
    return response.status_code, response.json()


async def health(served: Served) -> tuple[int, str]:
    response = await served.http.get("/health")
    return response.status_code, response.json()["status"]


async def until_healthy(served: Served) -> None:
    async with asyncio.timeout(10):
        while (await health(served))[0] != 200:  # noqa: ASYNC110 - it is asked, as a monitor asks
            await asyncio.sleep(0.02)


async def test_it_counts_as_starting_until_it_has_its_database(serve: Serve) -> None:
    async with serve(database=NOBODY_LISTENS, redis="redis://127.0.0.1:9/0") as served:
        assert await health(served) == (503, "starting")


@pytest.mark.slow
async def test_it_is_starting_until_models_can_run_and_lives_on_when_they_cannot(
    served: Served, database_url: str
) -> None:
    created = await served.http.post("/v1/models", json=ECHO, headers=await served.admin())
    assert created.status_code == 201
    assert await health(served) == (503, "starting")
    with psycopg.connect(database_url, autocommit=True) as database:
        database.execute(
            "INSERT INTO lanes (id, worker, slot, host, pid, pools) VALUES ('a', 'w', 0, 'h', 1, '{echo}')"
        )
        await until_healthy(served)
        database.execute("DELETE FROM lanes")
    assert (await ready(served))[0] == 503
    await asyncio.sleep(LOOK_SECONDS)
    assert await health(served) == (200, "ok")


async def test_many_who_ask_while_it_starts_share_a_look(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0

    async def counted(gateway: Gateway) -> Readiness:
        nonlocal looks
        looks += 1
        return await readiness(gateway)

    monkeypatch.setattr("api.services.health.readiness", counted)
    async with serve(database=NOBODY_LISTENS) as served:
        assert set(await asyncio.gather(*(health(served) for _ in range(20)))) == {(503, "starting")}
    assert looks == 1


async def test_a_new_installation_is_ready(served: Served) -> None:
    checks = {"database": "ok", "broker": "ok", "lanes": {}, "limits": "shared"}
    assert await ready(served) == (200, {"status": "ready", "checks": checks})


async def test_a_pool_in_use_needs_a_lane_that_is_alive(served: Served, database_url: str) -> None:
    created = await served.http.post("/v1/models", json=ECHO, headers=await served.admin())
    assert created.status_code == 201
    status, body = await ready(served)
    assert (status, body["status"], body["checks"]["lanes"]) == (503, "unavailable", {"echo": 0})

    with psycopg.connect(database_url, autocommit=True) as database:
        database.execute(
            "INSERT INTO lanes (id, worker, slot, host, pid, pools)"
            " VALUES ('a', 'w', 0, 'h', 1, '{echo,text-generation}'), ('b', 'w', 1, 'h', 2, '{echo}')"
        )
        status, body = await ready(served)
        assert (status, body["checks"]["lanes"]) == (200, {"echo": 2, "text-generation": 1})
        database.execute("UPDATE lanes SET last_seen = now() - interval '1 hour'")
        assert (await ready(served))[0] == 503


async def test_a_pool_of_older_versions_is_in_use_while_something_waits_in_it(
    served: Served, database_url: str
) -> None:
    admin = await served.admin()
    first = (await served.http.post("/v1/models", json=ECHO, headers=admin)).json()
    newer = {**ECHO, "model_type": "text-generation"}
    assert (await served.http.post("/v1/models", json=newer, headers=admin)).status_code == 201
    with psycopg.connect(database_url, autocommit=True) as database:
        database.execute(
            "INSERT INTO lanes (id, worker, slot, host, pid, pools)"
            " VALUES ('a', 'w', 0, 'h', 1, '{text-generation}')"
        )
        assert (await ready(served))[0] == 200
        database.execute(
            "INSERT INTO queue (id, pool, version_id, owner_id, rank) VALUES ('p', 'echo', %s, 'o', 0)",
            [first["latest_version"]["id"]],
        )
        assert (await ready(served))[0] == 503


async def test_without_a_database_it_starts_and_says_so_at_once(serve: Serve) -> None:
    async with serve(database=NOBODY_LISTENS) as served:
        started = time.monotonic()
        status, body = await ready(served)
        assert (status, body["checks"]["database"]) == (503, "unavailable")
        headers = {"Authorization": "Bearer aug_x"}
        for request in (
            served.http.get("/v1/models"),
            served.http.get("/v1/auth/me", headers=headers),
            served.http.post("/v1/auth/token", data={"username": "a", "password": "b"}),
        ):
            response = await request
            assert response.status_code == 503
            assert response.headers["Retry-After"] == "1"
            assert "nobody" not in response.text
        assert time.monotonic() - started < 2


@pytest.mark.slow
async def test_a_restarted_database_is_found_again_without_a_failed_read(
    serve: Serve, own_postgres: EmbeddedPostgres
) -> None:
    async with serve(database=own_postgres.url, token_cache_seconds=0) as served:
        ann = await served.person("ann")
        many = [served.http.get("/v1/auth/me", headers=ann) for _ in range(8)]
        assert {response.status_code for response in await asyncio.gather(*many)} == {200}
        await asyncio.to_thread(own_postgres.restart, "immediate")
        for url in ("/v1/auth/me", "/v1/models", "/ready"):
            assert (await served.http.get(url, headers=ann)).status_code == 200

        await asyncio.to_thread(own_postgres.stop)
        started = time.monotonic()
        assert (await served.http.get("/v1/auth/me", headers=ann)).status_code == 503
        assert (await ready(served))[0] == 503
        assert time.monotonic() - started < 2
        await asyncio.to_thread(own_postgres.start)
        assert (await served.http.get("/v1/auth/me", headers=ann)).status_code == 200


@pytest.mark.slow
async def test_a_database_that_hangs_does_not_hold_up_the_check(
    serve: Serve, own_postgres: EmbeddedPostgres
) -> None:
    async with serve(database=own_postgres.url) as served:
        assert (await ready(served))[0] == 200
        with psycopg.connect(own_postgres.url, autocommit=True) as database:
            database.execute("BEGIN")
            database.execute("LOCK TABLE lanes")
            started = time.monotonic()
            assert (await ready(served))[0] == 503
            assert time.monotonic() - started < 2
            database.execute("ROLLBACK")
        assert (await ready(served))[0] == 200
