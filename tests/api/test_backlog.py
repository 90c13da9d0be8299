"""Bounds of the queue: who finds it full is told when to return."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from api.backlog import (
    DEFAULT_RETRY_AFTER_SECONDS,
    MAX_RETRY_AFTER_SECONDS,
    Backlog,
    BacklogFull,
)
from api.errors import RETRY_AFTER_SECONDS
from cli.embedded import free_port
from db.session import async_engine
from db.settings import DatabaseSettings
from db.states import Priority
from tests.api.asking import add_model, ask, scalar
from tests.api.conftest import Serve

QUEUE = text(
    "INSERT INTO queue (id, pool, version_id, owner_id, rank)"
    " SELECT 'p' || n, 'echo', 'version', 'ann', n FROM generate_series(1, :waiting) n"
)
LANE = text(
    "INSERT INTO lanes (id, worker, slot, host, pid, pools, finished)"
    " VALUES ('lane', 'worker', 0, 'here', 1, '{echo}', 100)"
)

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def backlog_of(
    database_url: str, *, waiting: int = 0, per_pool: int = 1000, per_user: int = 1000
) -> AsyncIterator[tuple[Backlog, AsyncConnection]]:
    """A backlog over a queue in which so many of ann's predictions wait for the pool echo."""
    engine = async_engine(DatabaseSettings(database_url=database_url))
    backlog = Backlog(engine, per_pool=per_pool, per_user=per_user)
    try:
        async with engine.connect() as connection:
            await connection.execute(QUEUE, {"waiting": waiting})
            yield backlog, connection
    finally:
        await backlog.close()
        await engine.dispose()


async def look(backlog: Backlog) -> None:
    """Have the queue counted: an admission where no test looks does it, once it is time."""
    counted_at = backlog._known.at
    async with asyncio.timeout(10):
        while backlog._known.at == counted_at:
            backlog.admit(f"elsewhere {time.monotonic()}", f"somebody {time.monotonic()}")
            await asyncio.sleep(0.05)


def refusal(backlog: Backlog, owner: str = "ann") -> BacklogFull:
    with pytest.raises(BacklogFull) as caught:
        backlog.admit("echo", owner)
    return caught.value


async def test_a_user_with_a_full_queue_is_told_to_return_while_others_are_served(serve: Serve) -> None:
    async with serve(backlog_per_user=3) as served:
        root, ann = await served.admin(), await served.person("ann")
        await add_model(served, root)
        await ask(served, root)
        answers = [
            await served.http.post(
                "/v1/predictions", json={"model": "root/echo", "input": {"text": "a"}}, headers=ann
            )
            for _ in range(6)
        ]
        assert [answer.status_code for answer in answers[:3]] == [201] * 3
        refused = answers[-1]
        assert refused.status_code == 429
        assert int(refused.headers["Retry-After"]) >= 1
        assert refused.json()["type"] == "urn:augury:error:backlog-full"
        assert refused.json()["detail"].endswith(" predictions of yours wait already")
        await ask(served, root)
        accepted = sum(answer.status_code == 201 for answer in answers)
        assert await scalar(served, "SELECT count(*) FROM queue") == 2 + accepted


@pytest.mark.slow
async def test_what_waits_in_the_database_counts_for_its_pool_and_for_its_owner(database_url: str) -> None:
    async with backlog_of(database_url, waiting=3, per_user=3) as (backlog, _):
        await look(backlog)
        assert str(refusal(backlog)) == "3 predictions of yours wait already"
        backlog.admit("echo", "bob")
    async with backlog_of(database_url, waiting=0, per_pool=4) as (backlog, _):
        await look(backlog)
        backlog.admit("echo", "bob")
        assert str(refusal(backlog)) == "4 predictions in the pool echo wait already"
        backlog.admit("another", "ann")


@pytest.mark.slow
async def test_batch_work_takes_nobodys_place_and_is_not_refused_one(database_url: str) -> None:
    async with backlog_of(database_url, waiting=3, per_user=2, per_pool=2) as (backlog, connection):
        await connection.execute(text("UPDATE queue SET priority = 2"))
        await look(backlog)
        for _ in range(2):
            backlog.admit("echo", "ann", Priority.BATCH)
            backlog.admit("echo", "ann")
        refusal(backlog)
        backlog.admit("echo", "ann", Priority.BATCH)


@pytest.mark.slow
async def test_room_is_found_again_when_predictions_have_begun(database_url: str) -> None:
    async with backlog_of(database_url, waiting=3, per_pool=3) as (backlog, connection):
        await look(backlog)
        refusal(backlog)
        await connection.execute(text("UPDATE queue SET lane = 'lane' WHERE id = 'p1'"))
        await look(backlog)
        backlog.admit("echo", "ann")
        refusal(backlog)


@pytest.mark.slow
async def test_a_full_queue_does_not_hide_what_a_key_stands_for_already(serve: Serve) -> None:
    async with serve(backlog_per_user=1) as served:
        root, ann = await served.admin(), await served.person("ann")
        await add_model(served, root)
        made = await ask(served, ann, key="k", model="root/echo")
        assert await ask(served, ann, key="k", model="root/echo") == made
        body = {"model": "root/echo", "input": {"text": "other"}}
        for key, status in (("k", 422), ("new", 429)):
            answer = await served.http.post(
                "/v1/predictions", json=body, headers=ann | {"Idempotency-Key": key}
            )
            assert answer.status_code == status


async def test_who_finds_the_queue_full_hears_of_that_before_the_input_is_looked_at(serve: Serve) -> None:
    async with serve(backlog_per_user=1) as served:
        root, ann = await served.admin(), await served.person("ann")
        await add_model(served, root)
        # The first one has the queue counted, perhaps without itself.
        for value in [{"text": "a"}] * 5 + [{"unheard": "of"}]:
            body = {"model": "root/echo", "input": value}
            answer = await served.http.post("/v1/predictions", json=body, headers=ann)
        assert answer.status_code == 429


@pytest.mark.slow
async def test_the_time_to_return_follows_the_rate_at_which_the_pool_drains(database_url: str) -> None:
    async with backlog_of(database_url, waiting=1000) as (backlog, connection):
        await connection.execute(LANE)
        await look(backlog)
        # Nobody knows the rate yet, but a second look will tell.
        assert refusal(backlog).retry_after_seconds == RETRY_AFTER_SECONDS
        await connection.execute(text("UPDATE lanes SET finished = finished + 50"))
        await look(backlog)
        # 50 in a little more than a second, and a tenth of the thousand is to be free again.
        assert 1.5 < refusal(backlog).retry_after_seconds < 10
        # A lane that has gone takes its count with it: that is no rate.
        await connection.execute(text("DELETE FROM lanes"))
        await look(backlog)
        assert 1.5 < refusal(backlog).retry_after_seconds < 10


@pytest.mark.slow
async def test_nobody_is_sent_away_for_ever(database_url: str) -> None:
    async with backlog_of(database_url, waiting=1000) as (backlog, connection):
        await connection.execute(LANE)
        await look(backlog)
        await look(backlog)
        assert refusal(backlog).retry_after_seconds == DEFAULT_RETRY_AFTER_SECONDS
        await connection.execute(text("UPDATE lanes SET finished = finished + 1"))
        await look(backlog)
        assert 10 < refusal(backlog).retry_after_seconds <= MAX_RETRY_AFTER_SECONDS


async def test_a_queue_that_cannot_be_counted_lets_predictions_in() -> None:
    engine = async_engine(DatabaseSettings(database_url=f"postgresql://nobody@127.0.0.1:{free_port()}/none"))
    backlog = Backlog(engine, per_pool=2, per_user=2)
    try:
        for _ in range(2):
            backlog.admit("echo", "ann")
            await asyncio.sleep(0.05)
        # What this process has accepted itself counts all the same.
        refusal(backlog)
    finally:
        await backlog.close()
        await engine.dispose()
