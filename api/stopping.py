"""Ending tasks that listen to Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

# Longer than a task needs to tidy up, which another cancellation would break off.
AGAIN_SECONDS = 1.0


async def stop(*tasks: asyncio.Task[Any] | None) -> None:
    """Cancel tasks, and return when all have ended; what they have ended with is dropped.

    They are cancelled more than once, because redis-py forgets a cancellation that comes at the wrong moment.
    """
    running = _running(tasks)
    while running:
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=AGAIN_SECONDS)
        running = _running(running)
    await asyncio.gather(*(task for task in tasks if task is not None), return_exceptions=True)


def _running(tasks: Iterable[asyncio.Task[Any] | None]) -> set[asyncio.Task[Any]]:
    return {task for task in tasks if task is not None and not task.done()}
