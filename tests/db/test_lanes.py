"""Lanes come, beat, hang, die and go; what they held goes on without them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from time import monotonic, sleep

import psycopg
import pytest

from db import lanes
from db.leases import Outcome
from db.states import FailureCode, Status
from tests.db.interleaving import Sessions
from tests.db.requests import POOL, VERSIONS, Request

pytestmark = pytest.mark.own_database

LOCK_WAITERS = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


def wait_for_lock_waiters(world: Sessions, number: int) -> None:
    deadline = monotonic() + 10
    while world.rows(LOCK_WAITERS) != [(number,)]:
        assert monotonic() < deadline, f"{number} statements should be waiting for a lock"
        sleep(0.01)


def give_up(world: Sessions, lane: str, *, running: list[str]) -> lanes.TakenBack:
    code = FailureCode.EXECUTION_TIMEOUT
    return lanes.abandon(world.engine, lane, running=running, failure=code, error="It hangs.")


@pytest.mark.slow
def test_a_lane_that_wakes_while_it_is_taken_back_never_deadlocks_with_the_steward(world: Sessions) -> None:
    """Both want the same rows, in different orders; the lane's own row decides who goes first."""
    lane = world.lane()
    world.submit(*[Request()] * 2)
    world.submit(*[Request(version=VERSIONS[1])] * 2000)
    world.observer.execute("ANALYZE queue")
    first, second = lane.claim(POOL, VERSIONS[0], limit=2, budget=2).leases
    outcomes = [Outcome(lease, Status.SUCCEEDED, output="1") for lease in (second, first)]
    info = world.intake.info
    with (
        psycopg.connect(info.dsn, password=info.password) as blocker,
        ThreadPoolExecutor(max_workers=2) as threads,
    ):
        blocker.execute("SELECT 1 FROM queue WHERE id = %s FOR UPDATE", [first.id])
        taking_back = threads.submit(lanes.take_back_all, world.engine)
        wait_for_lock_waiters(world, 1)
        finishing = threads.submit(lane.finish, outcomes)
        wait_for_lock_waiters(world, 2)
        blocker.commit()
        assert taking_back.result(timeout=10).lanes == [lane.lane]
        assert finishing.result(timeout=10) == []
    assert world.rows("SELECT id, lane FROM queue WHERE losses = 1 ORDER BY id") == [
        (first.id, None),
        (second.id, None),
    ]


@pytest.mark.slow
def test_a_lane_that_hangs_is_judged_by_what_it_has_not_finished(world: Sessions) -> None:
    """Its finisher's commit is under way when its watchdog gives up: the culprit is the only one left."""
    lane = world.lane()
    world.submit(*[Request()] * 2)
    done, hanging = lane.claim(POOL, VERSIONS[0], limit=2, budget=2).leases
    world.open.begin()
    type(lane)(world.open.engine, lane.lane).finish([Outcome(done, Status.SUCCEEDED, output="1")])
    taken = world.beside(
        lambda: give_up(world, lane.lane, running=[done.id, hanging.id]),
        when_blocked=lambda: world.open.end(commit=True),
    )
    assert [(ended.id, ended.failure) for ended in taken.failed] == [(hanging.id, "execution_timeout")]


def test_what_a_hanging_lane_had_not_begun_waits_again_and_has_lost_nothing(world: Sessions) -> None:
    lane = world.lane()
    hanging, ahead = world.submit(*[Request()] * 2)
    lane.claim(POOL, VERSIONS[0], limit=2, budget=2)
    taken = give_up(world, lane.lane, running=[hanging])
    assert [ended.id for ended in taken.failed] == [hanging]
    assert taken.pools == {POOL}
    assert world.rows("SELECT id, lane, losses FROM queue") == [(ahead, None, 0)]


def test_of_several_that_hang_together_each_is_tried_alone(world: Sessions) -> None:
    lane = world.lane()
    ids = world.submit(*[Request()] * 2)
    lane.claim(POOL, VERSIONS[0], limit=2, budget=2)
    assert not give_up(world, lane.lane, running=ids).failed
    successor = world.lane("successor")
    for identifier in ids:
        (alone,) = successor.claim(POOL, VERSIONS[0], limit=2, budget=2).leases
        assert (alone.id, alone.losses) == (identifier, 1)


def test_what_kills_three_lanes_fails_and_its_batch_mates_do_not(world: Sessions) -> None:
    poison, innocent = world.submit(*[Request()] * 2)
    for death in range(1, 4):
        lane = world.lane(f"lane {death}")
        claimed = [lease.id for lease in lane.claim(POOL, VERSIONS[0], limit=2, budget=2).leases]
        assert claimed == ([poison, innocent] if death == 1 else [poison])
    taken = lanes.take_back_all(world.engine)
    assert [(ended.id, ended.failure, ended.attempts) for ended in taken.failed] == [
        (poison, "worker_lost", 3)
    ]
    (lease,) = world.lane("lane 4").claim(POOL, VERSIONS[0], limit=2, budget=2).leases
    assert (lease.id, lease.losses) == (innocent, 1)


def test_a_lane_that_leaves_in_good_order_loses_nothing(world: Sessions) -> None:
    lane = world.lane()
    (identifier,) = world.submit(Request())
    lane.claim(POOL, VERSIONS[0], limit=1, budget=1)
    taken = lanes.retire(world.engine, lane.lane)
    assert taken.pools == {POOL}
    assert taken.failed == []
    assert world.rows("SELECT id, lane, losses FROM queue") == [(identifier, None, 0)]
    assert lane.claim(POOL, VERSIONS[0], limit=1, budget=1).leases == []


def test_a_lane_that_beats_is_spared_and_a_silent_one_is_not(world: Sessions) -> None:
    world.lane("silent", slot=0)
    world.lane("beating", slot=1)
    world.rows("UPDATE lanes SET last_seen = now() - interval '1 hour' RETURNING id")
    assert lanes.beat(world.engine, "beating", finished=7, resident=["v1"])
    server_age = "SELECT extract(epoch FROM now() - pg_postmaster_start_time())::float8"
    lease_seconds = min(60.0, world.rows(server_age)[0][0] / 2)
    assert lanes.take_back_dead(world.engine, lease_seconds=lease_seconds).lanes == ["silent"]
    assert not lanes.beat(world.engine, "silent", finished=0, resident=[])
    assert world.rows("SELECT id, finished, resident FROM lanes") == [("beating", 7, ["v1"])]


def test_after_a_restart_of_the_database_every_lane_is_granted_a_lease_to_be_heard_again(
    world: Sessions,
) -> None:
    world.lane()
    world.rows("UPDATE lanes SET last_seen = now() - interval '1 year' RETURNING id")
    server_age = "SELECT extract(epoch FROM now() - pg_postmaster_start_time())::float8"
    longer = world.rows(server_age)[0][0] + 60
    assert lanes.take_back_dead(world.engine, lease_seconds=longer).lanes == ()
