"""Ending tasks: those that listen to Redis, and those that take too long."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")

AGAIN_SECONDS = 0.2


async def stop(*tasks: asyncio.Task[Any] | None, again_seconds: float = AGAIN_SECONDS) -> None:
    """Cancel tasks, and return when all have ended; what they have ended with is dropped.

    They are cancelled again and again, because redis-py forgets a cancellation that comes at the wrong
    moment; not sooner than after `again_seconds`, which they have to tidy up.
    """
    running = _running(tasks)
    while running:
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=again_seconds)
        running = _running(running)
    await asyncio.gather(*(task for task in tasks if task is not None), return_exceptions=True)


def _running(tasks: Iterable[asyncio.Task[Any] | None]) -> set[asyncio.Task[Any]]:
    return {task for task in tasks if task is not None and not task.done()}


class Patience:
    """Has an end, after which work is cancelled, and nobody waits for the cancellation before `close`.

    `asyncio.wait_for` would wait: a driver politely asks its server to cancel a query, and a server that
    hangs does not answer that either.
    """

    def __init__(self) -> None:
        self._abandoned: set[asyncio.Task[Any]] = set()

    async def within(self, seconds: float, work: Coroutine[Any, Any, T]) -> T:
        """What the work gives; raises `TimeoutError` where it takes longer."""
        task = asyncio.create_task(work)
        try:
            done, _ = await asyncio.wait([task], timeout=seconds)
        finally:
            if not task.done():
                self._abandon(task)
        if not done:
            raise TimeoutError
        return task.result()

    async def close(self) -> None:
        """Return when all that was cancelled has ended."""
        await stop(*self._abandoned)

    def _abandon(self, task: asyncio.Task[Any]) -> None:
        self._abandoned.add(task)
        task.add_done_callback(self._forget)
        task.cancel()

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._abandoned.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.info("what took too long has ended with: %s", error)
