"""A lane that has just worked stays by the door for a while: whoever rings then wakes it without Celery."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

import redis

from workers.messages import ENTER_SCRIPT, IDLE, LEAVE_SCRIPT, door_of, idle_entry

logger = logging.getLogger(__name__)

# For so long after its last work a lane stays by the door; then Celery has to call it.
LINGER_SECONDS = 2.0
# Between two looks at whether the worker is stopping; less than the client's timeout.
LOOK_SECONDS = 0.2


class Doorbell:
    """One lane's. It never raises: without Redis the lane goes back to Celery, which waits for Redis too."""

    def __init__(
        self,
        client: redis.Redis,
        pools: Sequence[str],
        stopping: Callable[[], bool],
        *,
        linger_seconds: float = LINGER_SECONDS,
    ) -> None:
        self._client = client
        self._pools = list(pools)
        self._stopping = stopping
        self._linger_seconds = linger_seconds
        self._enter = client.register_script(ENTER_SCRIPT)
        self._leave = client.register_script(LEAVE_SCRIPT)

    def wait(self, lane: str) -> str | None:
        """The pool that rings next; None when nobody does, or when the worker is stopping."""
        entry, door = idle_entry(lane, self._pools), door_of(lane)
        if self._stopping():
            return None
        try:
            if rung := self._enter(keys=self._pools, args=[IDLE, entry]):
                return _text(rung)
            until = time.monotonic() + self._linger_seconds
            while not self._stopping() and time.monotonic() < until:
                if found := self._client.blpop([door], timeout=LOOK_SECONDS):
                    return _text(found[1])
            rung = self._leave(keys=[IDLE, door], args=[entry])
        except redis.RedisError as error:
            logger.warning("the lane leaves the door: %s", error)
            return None
        return _text(rung) if rung else None


def _text(pool: bytes | str) -> str:
    return pool.decode() if isinstance(pool, bytes) else pool
