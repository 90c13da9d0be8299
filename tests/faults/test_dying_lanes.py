"""Workers and lanes are killed, stopped and hung: everything they held ends all the same, and once."""

from __future__ import annotations

import os
import signal
import time

import psutil
import pytest

from tests.faults.scene import LEASE_SECONDS, Scene
from tests.stack import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

# What a batch of the tests takes at most; kept low, so that work is left when the fault happens.
BATCH = 8


def wait_until_done(scene: Scene, count: int) -> None:
    query = "SELECT count(*) FROM predictions WHERE status <> 'starting'"
    wait_until(lambda: scene.rows(query)[0][0] >= count, 60, f"the end of {count} predictions")


def test_killed_workers_lose_nothing(scene: Scene) -> None:
    """The parent alone is killed, in the middle of a batch, again and again."""
    scene.start(workers=2, options={"max_batch": BATCH})
    scene.submit(240, sleep=0.2)
    kills = ["worker1", "worker2", "worker1"]
    for done, worker in enumerate(kills, start=1):
        wait_until_done(scene, 30 * done)
        orphans = scene.stack.lanes(worker)
        scene.stack.signal(worker, signal.SIGKILL)
        assert psutil.wait_procs(orphans, timeout=20)[1] == [], "lanes do not outlive their worker"
        scene.stack.start_again(worker)
    scene.wait_until_ended()
    records = scene.audit()
    extra_executions = sum(record.attempts - 1 for record in records.values())
    assert extra_executions <= 2 * BATCH * len(kills)
    assert {record.failure for record in records.values()} <= {None, "worker_lost"}


def test_a_killed_lane_is_noticed_and_its_batch_mates_finish(scene: Scene) -> None:
    scene.start()
    (first,) = scene.submit(sleep=0.5)
    scene.lane_of(first)
    batch = scene.submit(BATCH, sleep=1.0)
    victim = scene.lane_of(batch[0])
    os.kill(victim, signal.SIGKILL)
    killed_at = time.monotonic()
    wait_until(lambda: victim not in {row[0] for row in scene.rows("SELECT pid FROM lanes")}, 10, "the death")
    assert time.monotonic() - killed_at <= 10
    scene.wait_until_ended()
    records = scene.audit()
    assert {record.status for record in records.values()} == {"succeeded"}
    assert {records[identifier].attempts for identifier in batch} == {2}


def test_poison_fails_after_three_deaths_and_takes_no_innocents_with_it(scene: Scene) -> None:
    scene.start()
    (blocker,) = scene.submit(sleep=1.0)
    scene.lane_of(blocker)
    innocents = scene.submit(4)
    (poison,) = scene.submit(crash=True)
    innocents += scene.submit(4)
    scene.wait_until_ended()
    records = scene.audit()
    assert {records[identifier].status for identifier in innocents} == {"succeeded"}
    assert (records[poison].status, records[poison].failure) == ("failed", "worker_lost")
    assert records[poison].attempts == 3


def test_a_step_that_hangs_costs_its_lane_and_only_itself(scene: Scene) -> None:
    scene.start(options={"execution_timeout_seconds": 2})
    (blocker,) = scene.submit(sleep=1.0)
    lane = scene.lane_of(blocker)
    (hanging,) = scene.submit(sleep=600)
    mates = scene.submit(3)
    scene.wait_until_ended()
    after = scene.submit(3)
    scene.wait_until_ended()
    records = scene.audit()
    assert (records[hanging].status, records[hanging].failure) == ("failed", "execution_timeout")
    assert {records[identifier].status for identifier in mates + after} == {"succeeded"}
    assert {records[identifier].attempts for identifier in after} == {1}
    assert not psutil.pid_exists(lane)


def test_a_lane_that_slept_past_its_lease_changes_nothing_when_it_wakes(scene: Scene) -> None:
    scene.start(workers=2)
    (identifier,) = scene.submit(sleep=1.0)
    sleeper = psutil.Process(scene.lane_of(identifier))
    sleeper.suspend()
    try:
        scene.wait_until_ended(identifier, timeout_seconds=LEASE_SECONDS + 15)
        query = "SELECT to_jsonb(p) FROM predictions p WHERE id = %s"
        ended = scene.rows(query, identifier)
    finally:
        sleeper.resume()
    # It has woken when it has come back under a new name.
    back = "SELECT count(*) FROM lanes WHERE pid = %s AND last_seen > now() - make_interval(secs => 1)"
    wait_until(lambda: scene.rows(back, sleeper.pid) == [(1,)], 20, "the sleeper's return")
    (later,) = scene.submit()
    scene.wait_until_ended(later)
    assert scene.rows(query, identifier) == ended
    records = scene.audit()
    assert (records[identifier].status, records[identifier].attempts) == ("succeeded", 2)


def test_a_worker_that_is_asked_to_stop_gives_back_what_it_has_not_begun(scene: Scene) -> None:
    scene.start(options={"max_batch": BATCH})
    ids = scene.submit(4 * BATCH, sleep=1.0)
    wait_until_done(scene, 1)
    scene.stack.stop("worker1")
    held = scene.rows("SELECT count(*) FROM queue WHERE lane IS NOT NULL OR losses > 0")
    assert held == [(0,)], "what it had not begun is free at once, and has lost nothing"
    assert scene.rows("SELECT count(*) FROM lanes") == [(0,)]
    left = scene.rows("SELECT count(*) FROM queue")[0][0]
    assert 0 < left < len(ids)
    scene.stack.start_worker("worker2")
    scene.wait_until_ended()
    assert {record.status for record in scene.audit().values()} == {"succeeded"}


def test_a_worker_that_is_asked_to_stop_does_not_wait_for_a_model_that_is_being_loaded(scene: Scene) -> None:
    scene.start(lanes=2, options={"warm_up": [{"text": "a large one", "sleep": 600}]})
    (identifier,) = scene.submit()
    scene.lane_of(identifier)
    began = time.monotonic()
    scene.stack.stop("worker1")
    # The supervisor would have lost its patience after 15 s.
    assert time.monotonic() - began < 12
    assert scene.rows("SELECT lane, losses FROM queue") == [(None, 0)]
    assert scene.rows("SELECT count(*) FROM lanes") == [(0,)]
