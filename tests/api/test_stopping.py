"""Tasks end when they are told to, however often that takes."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from api.stopping import stop

pytestmark = pytest.mark.anyio


async def forgetful() -> None:
    with suppress(asyncio.CancelledError):
        await asyncio.Event().wait()
    await asyncio.Event().wait()


async def failing() -> None:
    raise ValueError("nobody listens")


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
