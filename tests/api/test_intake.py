"""Group commit: what arrives together is committed together, and no answer comes before it is durable."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from os import kill
from typing import Any

import psycopg
import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from api.errors import Unavailable
from api.intake import MAX_GROUP, Intake
from cli.embedded import free_port
from cli.postgres import EmbeddedPostgres
from db.errors import IdempotencyMismatch
from db.ids import new_id
from db.submissions import Accepted, Submission
from tests.wal import unflushed
from tests.workers.door import by_the_door, heard_by
from workers.bells import GatewayBells
from workers.messages import Ring

pytestmark = pytest.mark.anyio


def submission(**changes: Any) -> Submission:
    defaults: dict[str, Any] = {
        "id": new_id(),
        "owner_id": "ann",
        "version_id": "version",
        "model_id": "model",
        "pool": "echo",
        "input": '{"text": "a"}',
        "created_at": datetime.now(UTC),
    }
    return Submission(**defaults | changes)


@asynccontextmanager
async def intake(
    database_url: str, redis_url: str, *, timeout_seconds: float = 5.0, **options: Any
) -> AsyncIterator[Intake]:
    """An intake with bells, closed afterwards."""
    client = Redis.from_url(redis_url, socket_timeout=0.25, retry=Retry(NoBackoff(), 0))
    bells = GatewayBells(client)
    opened = Intake(lambda: database_url, bells, timeout_seconds=timeout_seconds, **options)
    try:
        yield opened
    finally:
        await opened.close()
        await bells.close()
        await client.aclose()


async def commits(database_url: str) -> int:
    """How many transactions have written rows of predictions so far."""
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        rows = await connection.execute("SELECT count(DISTINCT xmin::text) FROM predictions")
        found = await rows.fetchone()
    return int(found[0]) if found else 0


async def stored(database_url: str, table: str = "predictions") -> set[str]:
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        rows = await connection.execute(f"SELECT id FROM {table}")
        return {row[0] for row in await rows.fetchall()}


async def nobody_waits_for_a_lock(connection: psycopg.AsyncConnection[Any]) -> None:
    async with asyncio.timeout(10):
        while True:
            rows = await connection.execute(
                "SELECT FROM pg_locks JOIN pg_database d ON d.oid = database"
                " WHERE datname = current_database() AND NOT granted"
            )
            if not await rows.fetchall():
                return


async def test_what_arrives_together_shares_few_commits_and_rings_once_each(
    database_url: str, redis_url: str
) -> None:
    async with intake(database_url, redis_url) as opened:
        await opened.accept(submission())
        before = await commits(database_url)
        batch = [submission(pool=f"pool{n % 2}") for n in range(64)]
        answers = await asyncio.gather(*map(opened.accept, batch))
        assert answers == [Accepted(one.id) for one in batch]
        assert await commits(database_url) - before == 1
        assert {one.id for one in batch} < await stored(database_url)
        assert {one.id for one in batch} < await stored(database_url, "queue")
    async with Redis.from_url(redis_url) as client:
        assert [await client.llen(f"pool{n}") for n in range(2)] == [1, 1]


async def test_who_waits_alone_has_a_lane_woken_ahead(database_url: str, redis_url: str) -> None:
    with by_the_door(redis_url) as hearing:
        async with intake(database_url, redis_url) as opened:
            await opened.accept(alone := submission(waiter="waiter"))
        assert heard_by(hearing) == Ring("echo", alone.id)


async def test_who_does_not_wait_alone_is_rung_for_after_the_commit(
    database_url: str, redis_url: str
) -> None:
    for batch in ([submission()], [submission(waiter="waiter") for _ in range(2)]):
        with by_the_door(redis_url) as hearing:
            async with intake(database_url, redis_url) as opened:
                await asyncio.gather(*map(opened.accept, batch))
            assert heard_by(hearing) == Ring("echo")


async def test_an_idle_intake_commits_at_once(database_url: str, redis_url: str) -> None:
    async with intake(database_url, redis_url) as opened:
        for _ in range(3):
            await opened.accept(submission())
        assert await commits(database_url) == 3


@pytest.mark.slow
async def test_who_waits_for_the_end_does_not_wait_for_the_disk_and_settling_makes_up_for_it(
    own_postgres: EmbeddedPostgres, redis_url: str
) -> None:
    url = own_postgres.url
    with unflushed(url) as unflushed_bytes:
        async with intake(url, redis_url) as opened:
            await opened.accept(submission())
            assert unflushed_bytes() == 0
            await opened.accept(submission(waiter="somebody"))
            assert unflushed_bytes() > 0
            await opened.settle()
            assert unflushed_bytes() == 0
            # One that does not wait makes the others of its group durable too.
            await opened.accept(submission())
            together = [submission(waiter=waiter) for waiter in ("somebody", None, "somebody")]
            await asyncio.gather(*map(opened.accept, together))
            assert unflushed_bytes() == 0


async def test_a_flood_is_cut_into_groups_of_bounded_size(database_url: str, redis_url: str) -> None:
    async with intake(database_url, redis_url) as opened:
        count = 2 * MAX_GROUP + 1
        await asyncio.gather(*(opened.accept(submission()) for _ in range(count)))
        assert await commits(database_url) == 3
        assert len(await stored(database_url)) == count


async def test_what_cannot_be_stored_fails_alone(database_url: str, redis_url: str) -> None:
    async with intake(database_url, redis_url) as opened:
        batch = [submission() for _ in range(9)]
        batch[3] = submission(input="{no json")
        batch[7] = submission(webhook="a\0b")
        answers = await asyncio.gather(*map(opened.accept, batch), return_exceptions=True)
    for number, (one, answer) in enumerate(zip(batch, answers, strict=True)):
        if number in (3, 7):
            assert isinstance(answer, psycopg.DataError)
        else:
            assert answer == Accepted(one.id)
    good = {one.id for number, one in enumerate(batch) if number not in (3, 7)}
    assert await stored(database_url) == good


async def test_one_key_in_one_group_is_one_prediction(database_url: str, redis_url: str) -> None:
    async with intake(database_url, redis_url) as opened:
        batch = [submission(idempotency_key="k", digest=b"same") for _ in range(20)]
        batch.append(submission(idempotency_key="k", digest=b"other"))
        batch.append(submission(idempotency_key="k", digest=b"same", owner_id="bob"))
        *answers, other, bobs = await asyncio.gather(*map(opened.accept, batch), return_exceptions=True)
    first = batch[0].id
    assert answers == [Accepted(first), *[Accepted(first, replayed=True)] * 19]
    assert isinstance(other, IdempotencyMismatch)
    assert bobs == Accepted(batch[-1].id)
    assert await stored(database_url) == {first, batch[-1].id}


async def test_a_client_that_gave_up_disturbs_nobody(database_url: str, redis_url: str) -> None:
    async with intake(database_url, redis_url) as opened:
        gone, stays = submission(), submission()
        waiting = [asyncio.create_task(opened.accept(one)) for one in (gone, stays)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        assert await waiting[1] == Accepted(stays.id)
    assert await stored(database_url) == {gone.id, stays.id}


@pytest.mark.slow
async def test_a_restart_of_the_database_between_two_submissions_is_not_noticed(
    own_postgres: EmbeddedPostgres, redis_url: str
) -> None:
    async with intake(own_postgres.url, redis_url) as opened:
        first, second = submission(), submission()
        await opened.accept(first)
        await asyncio.to_thread(own_postgres.restart)
        assert await opened.accept(second) == Accepted(second.id)
    assert await stored(own_postgres.url) == {first.id, second.id}


async def test_a_database_that_is_down_is_told_of_at_once(
    redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    nobody = f"postgresql://nobody@127.0.0.1:{free_port()}/nothing"
    async with intake(nobody, redis_url) as opened:
        began = time.monotonic()
        answers = await asyncio.gather(
            *(opened.accept(submission()) for _ in range(3)), return_exceptions=True
        )
        assert time.monotonic() - began < 1
    assert all(isinstance(answer, Unavailable) for answer in answers)
    assert "3 submissions could not be committed" in caplog.text


@pytest.mark.slow
async def test_a_lock_that_nobody_releases_is_not_waited_for(database_url: str, redis_url: str) -> None:
    async with intake(database_url, redis_url, timeout_seconds=0.3) as opened:
        await opened.accept(submission())
        async with await psycopg.AsyncConnection.connect(database_url) as locker:
            await locker.execute("LOCK TABLE queue IN ACCESS EXCLUSIVE MODE")
            began = time.monotonic()
            first = asyncio.create_task(opened.accept(submission()))
            await asyncio.sleep(0.1)
            second = asyncio.create_task(opened.accept(submission()))
            answers = await asyncio.gather(first, second, return_exceptions=True)
            # The second had to wait for the first one's end only, not for an end of its own.
            assert time.monotonic() - began < 0.6
            assert all(isinstance(answer, Unavailable) for answer in answers)
            # The refused statement is cancelled in the server as well.
            await nobody_waits_for_a_lock(locker)
        after = submission()
        assert await opened.accept(after) == Accepted(after.id)
    assert len(await stored(database_url)) == 2


@pytest.mark.slow
async def test_a_server_that_hangs_is_not_waited_for(
    own_postgres: EmbeddedPostgres, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with intake(own_postgres.url, redis_url, timeout_seconds=0.5) as opened:
        await opened.accept(submission())
        async with await psycopg.AsyncConnection.connect(own_postgres.url) as observer:
            rows = await observer.execute(
                "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'"
                " AND pid <> pg_backend_pid()"
            )
            hung = [row[0] for row in await rows.fetchall()]
        assert len(hung) == 1
        kill(hung[0], signal.SIGSTOP)
        try:
            began = time.monotonic()
            with pytest.raises(Unavailable):
                await opened.accept(submission())
            assert time.monotonic() - began < 1
            # The next one gets a connection of its own.
            next_one = submission()
            assert await opened.accept(next_one) == Accepted(next_one.id)
        finally:
            kill(hung[0], signal.SIGCONT)


async def test_as_many_as_may_wait_for_the_database_do_and_no_more(database_url: str, redis_url: str) -> None:
    async with (
        intake(database_url, redis_url, max_waiting=10) as opened,
        await psycopg.AsyncConnection.connect(database_url) as locker,
    ):
        await locker.execute("LOCK TABLE queue IN ACCESS EXCLUSIVE MODE")
        first = asyncio.create_task(opened.accept(submission()))
        await asyncio.sleep(0.05)
        others = [asyncio.create_task(opened.accept(submission())) for _ in range(10)]
        await asyncio.sleep(0.05)
        with pytest.raises(Unavailable, match="too many submissions"):
            await opened.accept(submission())
        await locker.rollback()
        assert len(await asyncio.gather(first, *others)) == 11


async def test_closing_commits_what_was_handed_in(database_url: str, redis_url: str) -> None:
    async with intake(database_url, redis_url) as opened:
        batch = [submission() for _ in range(3)]
        waiting = [asyncio.create_task(opened.accept(one)) for one in batch]
        await asyncio.sleep(0)
    assert [await one for one in waiting] == [Accepted(one.id) for one in batch]
