"""A lane that has just worked stays by the door for a while: whoever rings then wakes it without Celery."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

import redis
from redis.client import PubSub

from workers.messages import ENTER_SCRIPT, LEAVE_SCRIPT, Ring, door_of, idle_entry

logger = logging.getLogger(__name__)

# For so long after its last work a lane stays by the door; then Celery has to call it.
LINGER_SECONDS = 2.0
# Between two looks at whether the worker is stopping; less than the client's timeout.
LOOK_SECONDS = 0.2
# What was published before a lane has left reaches it within this time.
ARRIVAL_SECONDS = 1.0


class Doorbell:
    """One lane's. It never raises: without Redis the lane goes back to Celery, which waits for Redis too."""

    def __init__(
        self,
        client: redis.Redis,
        name: str,
        pools: Sequence[str],
        stopping: Callable[[], bool],
        *,
        linger_seconds: float = LINGER_SECONDS,
    ) -> None:
        """`name` is nobody else's."""
        self._client = client
        self._door = door_of(name)
        self._entry = idle_entry(name, pools)
        self._pools = list(pools)
        self._stopping = stopping
        self._linger_seconds = linger_seconds
        self._enter = client.register_script(ENTER_SCRIPT)
        self._leave = client.register_script(LEAVE_SCRIPT)
        self._ear: PubSub | None = None

    def wait(self) -> Ring | None:
        """Who rings next; None when nobody does, or when the worker is stopping."""
        if self._stopping():
            return None
        try:
            return self._wait(self._listening())
        except redis.RedisError as error:
            logger.warning("the lane leaves the door: %s", error)
            self.close()
            return None

    def close(self) -> None:
        """Hear nothing any more."""
        if self._ear is not None:
            self._ear.close()
            self._ear = None

    def _wait(self, ear: PubSub) -> Ring | None:
        if pool := self._enter(keys=self._pools, args=[self._entry]):
            return Ring.read(pool)
        until = time.monotonic() + self._linger_seconds
        while not self._stopping() and time.monotonic() < until:
            if heard := ear.get_message(timeout=LOOK_SECONDS):
                if ring := _ring_in(heard):
                    return ring
                break  # It listens anew: Redis has been away, and may have forgotten the list.
        if self._leave(args=[self._entry]):
            return None
        if ring := _ring_in(ear.get_message(timeout=ARRIVAL_SECONDS)):
            return ring
        # Nobody knows what has become of it. A ring that comes after all must not be taken for a later one.
        self.close()
        return None

    def _listening(self) -> PubSub:
        """Whoever finds the lane on the list is heard: it listens before it is there."""
        if self._ear is None:
            # redis-py has no types for this method.
            self._ear = self._client.pubsub()  # type: ignore[no-untyped-call]
            self._ear.subscribe(self._door)
            self._ear.get_message(timeout=ARRIVAL_SECONDS)
        return self._ear


def _ring_in(heard: dict[str, Any] | None) -> Ring | None:
    """What a message says; None for silence, and for news of the subscription itself."""
    return Ring.read(heard["data"]) if heard and heard["type"] == "message" else None
