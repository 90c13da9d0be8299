"""Redis loses, repeats and refuses: it only rings bells, so predictions are late at worst."""

from __future__ import annotations

import shutil
import time

import pytest
import redis

from cli.valkey import EmbeddedValkey
from tests.faults.scene import POOL, Scene
from workers.messages import bell

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

PROCESSES = ("gateway", "steward", "worker1")


def test_a_broker_that_comes_back_empty_has_lost_nothing_that_matters(
    scene_with_own_valkey: Scene, own_valkey: EmbeddedValkey
) -> None:
    scene = scene_with_own_valkey
    scene.start()
    before = [scene.stack.pid(name) for name in PROCESSES]
    (blocker,) = scene.submit(sleep=8)
    scene.lane_of(blocker)
    scene.submit(1000)
    assert scene.rows("SELECT count(*) FROM queue WHERE lane IS NULL")[0][0] >= 1000
    own_valkey.kill()
    shutil.rmtree(own_valkey.directory / "appendonlydir")
    own_valkey.start()
    scene.wait_until_ended(timeout_seconds=30)
    assert [scene.stack.pid(name) for name in PROCESSES] == before
    assert {record.status for record in scene.audit().values()} == {"succeeded"}


def test_submissions_are_accepted_while_the_broker_is_down_and_drained_afterwards(
    scene_with_own_valkey: Scene, own_valkey: EmbeddedValkey
) -> None:
    scene = scene_with_own_valkey
    scene.start()
    before = [scene.stack.pid(name) for name in PROCESSES]
    own_valkey.kill()
    with scene.submissions_under_way():
        time.sleep(5)
    answers = scene.answers
    assert (answers.refused, answers.unanswered) == ([], 0)
    assert len(answers.accepted) > 50
    own_valkey.start()
    scene.wait_until_ended(timeout_seconds=30)
    scene.wait_until_ended(*scene.submit(), timeout_seconds=10)
    assert [scene.stack.pid(name) for name in PROCESSES] == before
    assert {record.status for record in scene.audit().values()} == {"succeeded"}


def test_a_bell_that_is_delivered_three_times_runs_nothing_twice(scene: Scene) -> None:
    scene.start(workers=2)
    with redis.Redis.from_url(scene.stack.environment["REDIS_URL"]) as client:
        for _ in range(100):
            scene.submit(sleep=0.01)
            client.lpush(POOL, *[bell(POOL)] * 3)
        scene.wait_until_ended()
    records = scene.audit()
    assert {(record.status, record.attempts) for record in records.values()} == {("succeeded", 1)}
