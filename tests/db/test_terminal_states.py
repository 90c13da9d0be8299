"""What has ended stays as it is, whoever tries: lanes, the steward, clients, or a hand in psql."""

from __future__ import annotations

import psycopg
import pytest

from db import deadlines, outbox, submissions
from db.leases import Lease, Leases, Outcome
from db.states import Status
from tests.db.interleaving import Sessions
from tests.db.requests import POOL, VERSIONS, Request


def finished(world: Sessions) -> tuple[Leases, Lease]:
    lane = world.lane()
    world.submit(Request(webhook="http://receiver/"))
    (lease,) = lane.claim(POOL, VERSIONS[0], limit=1, budget=1).leases
    lane.finish([Outcome(lease, Status.SUCCEEDED, output='"first"')])
    return lane, lease


@pytest.mark.parametrize(
    "change",
    ["status = 'failed'", "status = 'starting', completed_at = NULL", "completed_at = now() + '1 second'"],
)
def test_the_database_itself_refuses_to_change_a_terminal_state(world: Sessions, change: str) -> None:
    _, lease = finished(world)
    with pytest.raises(psycopg.errors.CheckViolation, match=f"{lease.id} is already succeeded"):
        world.observer.execute(f"UPDATE predictions SET {change}")


def test_a_second_end_changes_nothing(world: Sessions) -> None:
    lane, lease = finished(world)
    query = "SELECT to_jsonb(p) FROM predictions p"
    before = world.rows(query)
    assert lane.finish([Outcome(lease, Status.FAILED, error="second")]) == []
    assert lane.give_back([lease]) == []
    assert world.run(submissions.cancel(world.gateway, lease.id)) is None
    assert not world.run(submissions.watch(world.gateway, lease.id, waiter="channel"))
    assert world.rows(query) == before
    assert world.rows("SELECT prediction_id, event FROM webhook_deliveries") == [(lease.id, "completed")]


def test_a_canceled_prediction_is_not_this_lanes_any_more(world: Sessions) -> None:
    lane = world.lane()
    waiting, running = world.submit(*[Request()] * 2)[::-1]
    (lease,) = lane.claim(POOL, VERSIONS[0], limit=1, budget=1).leases
    assert lease.id == running
    for identifier in (waiting, running):
        ended = world.run(submissions.cancel(world.gateway, identifier))
        assert ended is not None
        assert (ended.status, ended.output, ended.failure) == ("canceled", None, None)
    assert lane.held([lease]) == {}
    assert lane.finish([Outcome(lease, Status.SUCCEEDED, output='"late"')]) == []
    assert world.rows("SELECT DISTINCT status FROM predictions") == [("canceled",)]


def test_deadlines_end_what_waits_and_what_runs_and_spare_the_rest(world: Sessions) -> None:
    lane = world.lane()
    late = world.submit(*[Request(late=True)] * 3)
    (in_time,) = world.submit(Request())
    (lease,) = lane.claim(POOL, VERSIONS[0], limit=1, budget=1).leases
    first = deadlines.expire(world.engine, limit=2)
    rest = deadlines.expire(world.engine, limit=2)
    assert (len(first), sorted(e.id for e in [*first, *rest])) == (2, sorted(late))
    assert {ended.failure for ended in [*first, *rest]} == {"deadline_exceeded"}
    assert lane.finish([Outcome(lease, Status.SUCCEEDED, output='"late"')]) == []
    assert world.rows("SELECT id FROM queue") == [(in_time,)]


def test_a_deadline_of_the_clients_own_cancels_and_the_servers_fails(world: Sessions) -> None:
    late, overdue = world.submit(Request(late=True), Request(overdue=True))
    ended = {one.id: (one.status, one.failure) for one in deadlines.expire(world.engine)}
    assert ended == {late: ("failed", "deadline_exceeded"), overdue: ("canceled", "deadline_exceeded")}


def test_nothing_more_is_told_of_what_is_about_to_end(world: Sessions) -> None:
    lane = world.lane()
    world.submit(Request(webhook="http://receiver/"))
    (lease,) = lane.claim(POOL, VERSIONS[0], limit=1, budget=1).leases
    world.open.begin()
    Leases(world.open.engine, lease.lane).finish([Outcome(lease, Status.SUCCEEDED, output='"the end"')])
    outbox.note_started(world.engine, [lease.id])
    outbox.note_partial(world.engine, [(lease.id, lease.attempt, ["output", "logs"])])
    world.open.end(commit=True)
    assert world.rows("SELECT event FROM webhook_deliveries") == [("completed",)]


def test_an_end_waits_for_news_that_is_being_written(world: Sessions) -> None:
    lane = world.lane()
    world.submit(Request(webhook="http://receiver/"))
    (lease,) = lane.claim(POOL, VERSIONS[0], limit=1, budget=1).leases
    world.open.begin()
    outbox.note_partial(world.open.engine, [(lease.id, lease.attempt, ["output"])])
    world.beside(
        lambda: lane.finish([Outcome(lease, Status.SUCCEEDED, output='"the end"')]),
        when_blocked=lambda: world.open.end(commit=True),
    )
    assert world.rows("SELECT event FROM webhook_deliveries ORDER BY id") == [("output",), ("completed",)]
