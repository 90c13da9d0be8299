"""Who waits for which prediction: news by Redis, a look at the row where it does not come."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from redis.asyncio import Redis
from sqlalchemy.exc import OperationalError

from api.waiting import LOOK_SECONDS, LOOK_SECONDS_WITHOUT_REDIS, Waiting
from cli.embedded import free_port
from db.ids import new_id
from db.states import Status
from tests.api.asking import until
from workers.messages import News, encode_news

pytestmark = pytest.mark.anyio


def news_of(prediction_id: str) -> News:
    return News(prediction_id, Status.SUCCEEDED, "x", None, None, 1, None, datetime.now(UTC))


@asynccontextmanager
async def waiting_at(redis_url: str) -> AsyncIterator[Waiting]:
    waiting = Waiting(redis_url)
    waiting.open()
    try:
        yield waiting
    finally:
        await waiting.close()


async def listening(redis_url: str, waiting: Waiting) -> None:
    """Return when Redis knows that it listens."""
    async with Redis.from_url(redis_url) as client, asyncio.timeout(5):
        while dict(await client.pubsub_numsub(waiting.channel)) != {waiting.channel.encode(): 1}:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


class Row:
    """A row that may be looked at."""

    def __init__(self, *answers: News | Exception | None) -> None:
        self._answers = list(answers)
        self.looks = 0

    async def look(self) -> News | None:
        self.looks += 1
        answer = self._answers.pop(0) if self._answers else None
        if isinstance(answer, Exception):
            raise answer
        return answer


async def test_news_reach_all_who_wait_for_a_prediction_and_nobody_else(redis_url: str) -> None:
    mine, anothers = new_id(), new_id()
    async with waiting_at(redis_url) as waiting, waiting_at(redis_url) as another:
        await listening(redis_url, another)
        await listening(redis_url, waiting)
        with (
            waiting.expect(mine) as first,
            waiting.expect(mine) as second,
            waiting.expect(anothers) as third,
        ):
            row = Row()
            asking = [
                asyncio.create_task(waiting.news(future, row.look, seconds=5)) for future in (first, second)
            ]
            await another.tell(waiting.channel, news_of(mine))
            answers = await asyncio.gather(*asking)
            assert [answer.id for answer in answers if answer] == [mine, mine]
            assert not third.done()
            assert row.looks == 0


async def test_news_that_come_before_one_waits_are_kept(redis_url: str) -> None:
    made = new_id()
    async with waiting_at(redis_url) as waiting:
        await listening(redis_url, waiting)
        with waiting.expect(made) as future:
            await waiting.tell(waiting.channel, news_of(made))
            await until(future.done)
            assert await waiting.news(future, Row().look, seconds=1) is not None


@pytest.mark.slow
async def test_lost_news_are_made_up_for_by_a_look(redis_url: str) -> None:
    made = new_id()
    async with waiting_at(redis_url) as waiting:
        await listening(redis_url, waiting)
        with waiting.expect(made) as future:
            began = time.monotonic()
            found = await waiting.news(future, Row(news_of(made)).look, seconds=5)
            assert found is not None
            assert found.id == made
            assert time.monotonic() - began < LOOK_SECONDS + 0.5


@pytest.mark.slow
async def test_without_redis_the_row_is_looked_at_more_often_and_a_telling_is_no_error() -> None:
    async with waiting_at(f"redis://127.0.0.1:{free_port()}/0") as waiting:
        with waiting.expect("a") as future:
            row = Row(None, None, news_of("a"))
            began = time.monotonic()
            assert await waiting.news(future, row.look, seconds=5) is not None
            assert time.monotonic() - began < 3 * LOOK_SECONDS_WITHOUT_REDIS + 0.5
            assert row.looks == 3
        await waiting.tell("augury:news:x", news_of("a"))


@pytest.mark.slow
async def test_a_row_that_cannot_be_looked_at_is_looked_at_again() -> None:
    async with waiting_at(f"redis://127.0.0.1:{free_port()}/0") as waiting:
        with waiting.expect("a") as future:
            away = OperationalError("SELECT", {}, Exception("away"))
            assert await waiting.news(future, Row(away, away, news_of("a")).look, seconds=5) is not None
            # It is durable, so nobody is told otherwise when time runs out.
            assert await waiting.news(future, Row(*[away] * 9).look, seconds=0.3) is None


async def test_unreadable_news_are_skipped(redis_url: str, caplog: pytest.LogCaptureFixture) -> None:
    made = new_id()
    async with waiting_at(redis_url) as waiting, Redis.from_url(redis_url) as client:
        await listening(redis_url, waiting)
        with waiting.expect(made) as future:
            for payload in (b"{", b"[1]", b'[{"id": "\xff"}]', encode_news([]), encode_news([news_of(made)])):
                await client.publish(waiting.channel, payload)
            assert await waiting.news(future, Row().look, seconds=0.9) is not None
    assert caplog.text.count("unreadable news") == 3


async def test_nobody_is_remembered_who_has_ceased_to_wait(redis_url: str) -> None:
    async with waiting_at(redis_url) as waiting:
        await listening(redis_url, waiting)
        for _ in range(3):
            with waiting.expect("a") as future:
                assert await waiting.news(future, Row().look, seconds=0.01) is None
        assert waiting._futures == {}


@pytest.mark.slow
async def test_it_can_be_closed_at_any_moment_of_its_beginning(redis_url: str) -> None:
    for turns in range(40):
        waiting = Waiting(redis_url)
        waiting.open()
        for _ in range(turns):
            await asyncio.sleep(0)
        async with asyncio.timeout(5):
            await waiting.close()
