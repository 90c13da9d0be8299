"""Tasks end when they are told to, however often that takes."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from api.stopping import Patience, stop

pytestmark = pytest.mark.anyio


async def forgetful() -> None:
    with suppress(asyncio.CancelledError):
        await asyncio.Event().wait()
    await asyncio.Event().wait()


async def failing() -> None:
    raise ValueError("nobody listens")


@pytest.mark.slow
async def test_a_task_that_forgets_a_cancellation_ends_all_the_same() -> None:
    task = asyncio.create_task(forgetful())
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await stop(task)
    assert task.cancelled()


async def test_what_tasks_have_ended_with_is_dropped() -> None:
    task = asyncio.create_task(failing())
    await asyncio.wait([task])
    await stop(task, None)
    assert task.done()


async def test_what_takes_too_long_is_ended_and_nobody_waits_for_that_before_the_close() -> None:
    patience, ended = Patience(), asyncio.Event()

    async def slow_to_end() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.1)
            ended.set()

    with pytest.raises(TimeoutError):
        await patience.within(0.01, slow_to_end())
    assert not ended.is_set()
    await patience.close()
    assert ended.is_set()


async def test_nothing_is_left_running_by_who_is_cancelled_while_it_waits() -> None:
    patience, began, cancelled = Patience(), asyncio.Event(), asyncio.Event()

    async def work() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    waiting = asyncio.create_task(patience.within(60, work()))
    await began.wait()
    await stop(waiting)
    await patience.close()
    assert cancelled.is_set()


async def test_what_ends_in_time_gives_its_result_or_raises_its_error() -> None:
    patience = Patience()
    assert await patience.within(5, asyncio.sleep(0, "done")) == "done"
    with pytest.raises(ValueError, match="nobody listens"):
        await patience.within(5, failing())
