"""What a user may use in a month: counted, shown, and refused beyond it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from api import quotas
from db.ids import floor_id, new_id
from db.repositories import usage
from db.repositories.transactions import write
from tests.api.asking import Headers, add_model, ask, scalar
from tests.api.conftest import Serve, Served

pytestmark = pytest.mark.anyio

BODY: dict[str, Any] = {"version": "root/echo", "input": {"text": "a"}}
HAS_RUN = text(
    "INSERT INTO predictions (id, owner_id, version_id, model_id, status, input, created_at, started_at,"
    " completed_at) SELECT :id, id, '-', '-', 'succeeded', '{}', :at, :at, :at + make_interval(secs => :secs)"
    " FROM users WHERE username = :username"
)


@pytest.fixture
async def root(served: Served) -> Headers:
    root = await served.admin()
    await add_model(served, root)
    return root


@pytest.fixture(autouse=True)
def always_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is known of a user is never old."""
    monkeypatch.setattr(quotas, "LOOK_SECONDS", 0.0)


async def has_run(served: Served, username: str, seconds: float, *, id: str | None = None) -> None:
    """Enter a prediction of this user's that has run for so long; it was made when its id says, or now."""
    row = {"id": id or new_id(), "at": datetime.now(UTC), "secs": seconds, "username": username}
    async with write(served.gateway.engine) as session:
        await session.execute(HAS_RUN, row)


async def limit(served: Served, root: Headers, username: str, seconds: float | None) -> dict[str, Any]:
    """The account as the administrator sees it after setting this limit."""
    response = await served.http.patch(
        f"/v1/users/{username}", json={"monthly_run_seconds": seconds}, headers=root
    )
    assert response.status_code == 200, response.text
    return response.json()


@pytest.mark.slow
async def test_beyond_the_limit_every_way_to_ask_is_refused_until_there_is_more(
    served: Served, root: Headers
) -> None:
    ann = await served.person("ann")
    await has_run(served, "ann", 2.5)
    await limit(served, root, "ann", 3)
    await ask(served, ann)
    await has_run(served, "ann", 0.5)

    for method, path, body in (
        ("POST", "/v1/predictions", BODY),
        ("POST", "/predictions", BODY),
        ("PUT", "/v1/predictions/mine", BODY),
        ("POST", "/v1/models/root/echo/predictions", {"input": BODY["input"]}),
    ):
        refused = await served.http.request(method, path, json=body, headers=ann)
        assert refused.status_code == 402, (method, path)
        assert refused.headers["Content-Type"] == "application/problem+json"
        assert refused.headers["X-Should-Retry"] == "false"
        problem = refused.json()
        assert problem["title"] == "Monthly spend limit reached"
        assert (problem["type"], problem["status"]) == ("urn:augury:error:spend-limit-reached", 402)
        assert problem["detail"].startswith(
            "your predictions of this month have run 3.0 s, and may run 3.0 s"
        )
    assert await scalar(served, "SELECT count(*) FROM queue") == 1
    # Reading goes on, and others are not concerned.
    assert (await served.http.get("/v1/predictions", headers=ann)).status_code == 200
    await ask(served, root)

    await limit(served, root, "ann", 3.5)
    await ask(served, ann)
    await limit(served, root, "ann", 0)
    await ask(served, ann, status=402)
    await limit(served, root, "ann", None)
    await ask(served, ann)


async def test_only_what_was_made_this_month_counts_and_only_ones_own(served: Served, root: Headers) -> None:
    ann = await served.person("ann")
    await served.person("bob")
    month = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    await has_run(served, "ann", 100, id=floor_id(month - timedelta(seconds=1)))
    await has_run(served, "ann", 4, id=floor_id(month))
    await has_run(served, "bob", 100)
    assert (await limit(served, root, "ann", 5))["run_seconds_this_month"] == 4
    await ask(served, ann)


async def test_who_repeats_a_request_finds_its_prediction_though_nothing_is_left(
    served: Served, root: Headers
) -> None:
    ann = await served.person("ann")
    asked = await ask(served, ann, key="once")
    await limit(served, root, "ann", 0)
    assert (await ask(served, ann, key="once"))["id"] == asked["id"]
    await ask(served, ann, key="twice", status=402)


async def test_the_limit_and_what_was_used_are_shown_to_the_user_and_to_administrators(
    served: Served, root: Headers
) -> None:
    ann = await served.person("ann")
    await has_run(served, "ann", 1.25)
    used = {"monthly_run_seconds": None, "run_seconds_this_month": 1.25}

    async def shown(path: str, headers: Headers) -> dict[str, Any]:
        body = (await served.http.get(path, headers=headers)).json()
        return {name: body[name] for name in ("username", *used)}

    assert await shown("/v1/account", ann) == {"username": "ann"} | used
    limited = await limit(served, root, "Ann", 60)
    used["monthly_run_seconds"] = 60
    assert limited.keys() > {"id", "email", "role", "created_at"}
    assert await shown("/v1/account", ann) == await shown("/v1/users/ann", root) == {"username": "ann"} | used


async def test_only_administrators_set_limits_and_only_of_users_that_there_are(
    served: Served, root: Headers
) -> None:
    ann = await served.person("ann")

    async def answer(username: str, headers: Headers, body: dict[str, Any]) -> int:
        return (await served.http.patch(f"/v1/users/{username}", json=body, headers=headers)).status_code

    assert await answer("ann", ann, {"monthly_run_seconds": 1}) == 403
    assert (await served.http.get("/v1/users/ann", headers=ann)).status_code == 403
    assert await answer("nobody", root, {"monthly_run_seconds": 1}) == 404
    for body in ({}, {"monthly_run_seconds": -1}, {"monthly_run_seconds": "NaN"}, {"role": "admin"}):
        assert await answer("ann", root, body) == 422


@pytest.mark.slow
async def test_a_crowd_costs_one_look_and_who_has_no_limit_none(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []
    count = usage.run_seconds

    async def counted(session: Any, user_id: str, *, since: datetime) -> float:
        looks.append(user_id)
        return await count(session, user_id, since=since)

    monkeypatch.setattr(usage, "run_seconds", counted)
    monkeypatch.setattr(quotas, "LOOK_SECONDS", 60.0)
    async with serve() as served:
        root, ann = await served.admin(), await served.person("ann")
        await add_model(served, root)
        await ask(served, root)
        assert looks == []
        await limit(served, root, "ann", 10)
        await asyncio.gather(*(ask(served, ann) for _ in range(10)))
        assert len(looks) == 1
