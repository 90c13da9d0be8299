"""Idempotency-Key: however often a request comes, it is one prediction."""

from __future__ import annotations

import asyncio

import pytest

from tests.api.asking import add_model, ask, cancel, lane_by_hand, scalar, until_queued
from tests.api.conftest import Serve, Served

pytestmark = pytest.mark.anyio


async def test_the_same_key_is_the_same_prediction_also_after_its_end(
    served: Served, database_url: str, redis_url: str
) -> None:
    root = await served.admin()
    await add_model(served, root)
    made = await ask(served, root, key="k")
    assert await ask(served, root, key="k") == made
    async with lane_by_hand(database_url, redis_url) as lane:
        leases = await lane.claim()
        assert [lease.id for lease in leases] == [made["id"]]
        assert (await ask(served, root, key="k"))["status"] == "processing"
        await lane.finish(leases)
    done = await ask(served, root, key="k")
    assert (done["id"], done["status"], done["output"]) == (made["id"], "succeeded", "hello")
    assert await scalar(served, "SELECT count(*) FROM predictions") == 1


@pytest.mark.slow
async def test_twenty_at_once_at_two_gateways_are_one_prediction(serve: Serve) -> None:
    async with serve() as one, serve() as two:
        root = await one.admin()
        await add_model(one, root)
        made = await asyncio.gather(*(ask((one, two)[n % 2], root, key="k") for n in range(20)))
        assert len({prediction["id"] for prediction in made}) == 1
        assert await scalar(one, "SELECT count(*) FROM predictions") == 1
        assert await scalar(one, "SELECT count(*) FROM queue") == 1


async def test_a_key_stands_for_one_request_only(served: Served) -> None:
    root = await served.admin()
    await add_model(served, root)
    await ask(served, root, key="k")
    for different in (
        {"input": {"text": "other"}},
        {"webhook": "https://example.org/"},
        {"input": {"text": "hello", "steps": 2}},
    ):
        problem = await ask(served, root, status=422, key="k", **different)
        assert problem["type"] == "urn:augury:error:idempotency-mismatch"
        assert "'k' was used before, with a different request" in problem["detail"]
    assert await scalar(served, "SELECT count(*) FROM predictions") == 1


async def test_another_name_of_the_same_version_is_the_same_request(served: Served) -> None:
    root = await served.admin()
    model = await add_model(served, root)
    made = await ask(served, root, key="k", model="root/echo")
    assert (await ask(served, root, key="k", model_id=model["id"]))["id"] == made["id"]


async def test_another_users_key_is_another_key(served: Served) -> None:
    root = await served.admin()
    await add_model(served, root)
    ann, bob = await served.person("ann"), await served.person("bob")
    made = [(await ask(served, person, key="k"))["id"] for person in (ann, bob)]
    assert made[0] != made[1]


async def test_a_repeated_request_waits_as_the_first_one_did(
    served: Served, database_url: str, redis_url: str
) -> None:
    root = await served.admin()
    await add_model(served, root)
    made = await ask(served, root, key="k")
    async with lane_by_hand(database_url, redis_url) as lane:
        waiting = [asyncio.create_task(ask(served, root, key="k", prefer="wait=20")) for _ in range(3)]
        await until_queued(served, which="waiter IS NOT NULL")
        await lane.serve_when_asked()
        answers = await asyncio.gather(*waiting)
    assert {(one["id"], one["status"]) for one in answers} == {(made["id"], "succeeded")}
    # Nobody waits for what has ended already.
    assert await ask(served, root, key="k", prefer="wait=20") == answers[0]


@pytest.mark.slow
async def test_a_repeated_request_that_waits_in_vain_is_answered_as_starting(served: Served) -> None:
    root = await served.admin()
    await add_model(served, root)
    made = await ask(served, root, key="k")
    again = await ask(served, root, key="k", prefer="wait=1", status=202)
    assert again == made


async def test_a_cancelled_prediction_keeps_its_key(served: Served) -> None:
    root = await served.admin()
    await add_model(served, root)
    made = await ask(served, root, key="k")
    canceled = await cancel(served, root, made["id"])
    assert await ask(served, root, key="k") == canceled


async def test_a_refused_request_does_not_use_up_its_key(served: Served) -> None:
    root = await served.admin()
    await add_model(served, root)
    await ask(served, root, status=422, key="k", input={"text": 7})
    assert (await ask(served, root, key="k"))["status"] == "starting"


async def test_a_key_has_a_bounded_length_and_prints(served: Served) -> None:
    root = await served.admin()
    await add_model(served, root)
    await ask(served, root, key="k" * 255)
    for key in ("k" * 256, "", "a\tb"):
        problem = await ask(served, root, status=422, key=key)
        assert problem["errors"][0]["field"] == "Idempotency-Key"
