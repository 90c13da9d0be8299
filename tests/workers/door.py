"""Somebody who stands by the door as a lane does, and tells what it hears."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import redis
from redis.client import PubSub

from workers.messages import IDLE, Ring, door_of, idle_entry


@contextmanager
def by_the_door(redis_url: str, pool: str = "echo") -> Iterator[PubSub]:
    """The subscription of one that waits for this pool."""
    with redis.Redis.from_url(redis_url) as client:
        hearing = client.pubsub(ignore_subscribe_messages=True)
        hearing.subscribe(door_of("lane"))
        hearing.get_message(timeout=5)
        client.lpush(IDLE, idle_entry("lane", [pool]))
        try:
            yield hearing
        finally:
            hearing.close()


def heard_by(hearing: PubSub, *, seconds: float = 5.0) -> Ring | None:
    """What has been rung, or is within this time; None for nothing."""
    message = hearing.get_message(timeout=seconds)
    return Ring.read(message["data"]) if message else None
