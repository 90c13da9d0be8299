"""Lanes by the door: who is woken, who is not, and what becomes of a ring that comes too late."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import redis

from cli.embedded import free_port
from cli.valkey import EmbeddedValkey
from tests.stack import wait_until
from workers.bells import Bells
from workers.doorbell import LOOK_SECONDS, Doorbell
from workers.messages import IDLE, Ring, idle_entry


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as opened:
        yield opened


class Idle:
    """A lane that waits by the door in a thread; `rung` is what it was woken for."""

    def __init__(self, client: redis.Redis, lane: str, *pools: str, linger_seconds: float = 20.0) -> None:
        self.stopping = False
        self.rung: Ring | str | None = "not yet"
        self._doorbell = Doorbell(client, lane, pools, lambda: self.stopping, linger_seconds=linger_seconds)
        self._client = client
        self._thread = threading.Thread(target=self._wait, daemon=True)

    def _wait(self) -> None:
        self.rung = self._doorbell.wait()

    def came(self) -> Idle:
        """Begin to wait, and be there."""
        before = self._client.llen(IDLE)
        self._thread.start()
        wait_until(lambda: self._client.llen(IDLE) != before or not self._thread.is_alive())
        return self

    def left(self) -> Ring | str | None:
        """Wait until it has been woken or has left."""
        self._thread.join(timeout=10)
        assert not self._thread.is_alive()
        self._doorbell.close()
        return self.rung


def test_a_lane_by_the_door_is_woken_without_celery(client: redis.Redis) -> None:
    lane = Idle(client, "a", "text", "echo").came()
    assert Bells(client).ring(["echo"])
    assert lane.left() == Ring("echo")
    assert client.llen("echo") == client.llen(IDLE) == 0


def test_one_ring_wakes_one_lane_the_last_that_came(client: redis.Redis) -> None:
    first, last = Idle(client, "first", "echo").came(), Idle(client, "last", "echo").came()
    Bells(client).ring(["echo"])
    assert last.left() == Ring("echo")
    assert client.lrange(IDLE, 0, -1) == [b"first,echo,"]
    Bells(client).ring(["echo"])
    assert first.left() == Ring("echo")
    assert client.llen("echo") == 0


@pytest.mark.slow
def test_a_lane_of_other_pools_sleeps_on_and_celery_gets_the_bell(client: redis.Redis) -> None:
    lane = Idle(client, "a", "echoes", "an-echo").came()
    Bells(client).ring(["echo"])
    assert client.llen("echo") == 1
    lane.stopping = True
    assert lane.left() is None
    assert client.llen(IDLE) == 0


def test_a_lane_takes_the_bell_along_that_lies_there_for_celery(client: redis.Redis) -> None:
    Bells(client).ring(["echo"])
    assert Idle(client, "a", "text", "echo").came().left() == Ring("echo")
    assert client.llen("echo") == client.llen(IDLE) == 0


def test_a_lane_whose_worker_stops_takes_no_bell_along(client: redis.Redis) -> None:
    Bells(client).ring(["echo"])
    assert Doorbell(client, "a", ["echo"], stopping=lambda: True).wait() is None
    assert client.llen("echo") == 1


@pytest.mark.slow
def test_nobody_rings_and_the_lane_goes_back_to_celery(client: redis.Redis) -> None:
    assert Idle(client, "a", "echo", linger_seconds=0.05).came().left() is None
    assert client.llen(IDLE) == 0
    Bells(client).ring(["echo"])
    assert client.llen("echo") == 1


def test_a_ring_at_the_moment_of_leaving_is_heard(client: redis.Redis) -> None:
    """The worker stops before the lane looks once: the ring finds it on the list all the same."""
    answers = iter([False, True])

    def stopping() -> bool:
        """Not yet when the lane comes; somebody rings before it looks again."""
        if is_stopping := next(answers):
            Bells(client).ring(["echo"])
        return is_stopping

    assert Doorbell(client, "a", ["echo"], stopping=stopping).wait() == Ring("echo")
    assert client.llen("echo") == client.llen(IDLE) == 0


@pytest.mark.slow
def test_a_worker_that_stops_has_its_lanes_back_at_once(client: redis.Redis) -> None:
    lane = Idle(client, "a", "echo").came()
    lane.stopping = True
    began = time.monotonic()
    assert lane.left() is None
    assert time.monotonic() - began < LOOK_SECONDS + 1


def test_without_redis_a_lane_goes_back_to_celery() -> None:
    with redis.Redis.from_url(f"redis://127.0.0.1:{free_port()}/0") as nobody:
        assert Doorbell(nobody, "a", ["echo"], stopping=lambda: False).wait() is None


def test_a_lane_that_has_died_by_the_door_is_passed_over(client: redis.Redis) -> None:
    """Nobody listens there any more, so the bell goes to the next one."""
    lane = Idle(client, "living", "echo").came()
    client.lpush(IDLE, idle_entry("dead", ["echo"]))
    assert Bells(client).ring(["echo"])
    assert lane.left() == Ring("echo")
    assert client.llen(IDLE) == client.llen("echo") == 0
    client.lpush(IDLE, idle_entry("dead", ["echo"]))
    Bells(client).ring(["echo"])
    assert client.llen(IDLE) == 0
    assert client.llen("echo") == 1


def test_a_lane_that_was_rung_for_comes_back_to_the_door(client: redis.Redis) -> None:
    doorbell = Doorbell(client, "a", ["echo"], stopping=lambda: False, linger_seconds=5)
    for _ in range(3):
        ringing = threading.Thread(target=_ring_when_somebody_is_there, args=[client])
        ringing.start()
        assert doorbell.wait() == Ring("echo")
        ringing.join()
    doorbell.close()


def _ring_when_somebody_is_there(client: redis.Redis) -> None:
    wait_until(lambda: client.llen(IDLE) == 1)
    Bells(client).ring(["echo"])


@pytest.mark.slow
def test_a_lane_leaves_the_door_when_redis_has_been_away(own_valkey: EmbeddedValkey) -> None:
    """Its list may be gone: it would wait there for nobody."""
    with redis.Redis.from_url(own_valkey.url) as client:
        lane = Idle(client, "a", "echo", linger_seconds=60).came()
        own_valkey.stop()
        own_valkey.start()
        assert lane.left() is None


def test_a_bell_by_the_door_is_not_written_to_disk(client: redis.Redis) -> None:
    before = client.info("persistence")["aof_current_size"]
    lane = Idle(client, "a", "echo").came()
    Bells(client).ring(["echo"])
    assert lane.left() == Ring("echo")
    assert client.info("persistence")["aof_current_size"] == before
    Bells(client).ring(["echo"])
    assert client.info("persistence")["aof_current_size"] > before


@pytest.mark.parametrize("ring", [Ring("echo"), Ring("text-generation", "01HZ")])
def test_a_ring_is_read_as_it_was_written(ring: Ring) -> None:
    assert Ring.read(ring.written()) == Ring.read(ring.written().encode()) == ring
