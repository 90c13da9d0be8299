"""How far predictions have come: told once a second at most, and only by the lane that holds them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from db.documents import RECORD_COLUMNS, RECORD_JOINS
from db.leases import Lease, Leases, Outcome
from db.states import Status
from model_types import registry
from model_types.base import VersionSpec
from tests.db.interleaving import Sessions, sessions
from tests.db.requests import POOL, VERSIONS, Request
from workers.jobs import Job
from workers.progress import ProgressReporter
from workers.residency import Resident
from workers.work import Work

ECHO = VersionSpec(id=VERSIONS[0], model="test/echo", model_type="echo", engine="builtin", path="")


@pytest.fixture
def world(database_url: str) -> Iterator[Sessions]:
    with sessions(database_url) as opened:
        yield opened


class Clock:
    """Moves when it is told to."""

    seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def claim(lane: Leases, *, limit: int = 1) -> list[Lease]:
    return list(lane.claim(POOL, VERSIONS[0], limit=limit, budget=limit).leases)


def echoes(leases: list[Lease], *steps: int) -> Work:
    """A session with an echo for each of the leases, of so many steps."""
    model = registry.engine(ECHO)
    model.load(ECHO, "cpu")
    work = Work(Resident(ECHO, model.info, model, memory_bytes=0))
    for lease, count in zip(leases, steps, strict=True):
        work.join(Job(lease, model.prepare({"text": "a", "steps": count})))
    return work


def told(world: Sessions) -> list[float | None]:
    return [share for (share,) in world.rows("SELECT progress FROM queue ORDER BY id")]


def test_what_runs_for_more_than_a_second_is_told_once_a_second(world: Sessions) -> None:
    clock = Clock()
    lane = world.lane()
    world.submit(*[Request()] * 2)
    reporter = ProgressReporter(lane, clock)
    work = echoes(claim(lane, limit=2), 4, 8)
    seen = []
    for _ in range(3):
        work.step()
        for seconds in (0.5, 0.6):
            clock.seconds += seconds
            reporter.report(work)
            seen.append(told(world))
    assert seen == [
        [None, None],  # too early to look
        [None, None],  # seen for the first time
        [None, None],
        [0.5, 0.25],
        [0.5, 0.25],
        [0.75, 0.375],
    ]


def test_what_has_ended_before_a_second_look_is_not_written_of(world: Sessions) -> None:
    clock = Clock()
    lane = world.lane()
    world.submit(*[Request()] * 2)
    reporter = ProgressReporter(lane, clock)
    for work in (echoes([lease], 2) for lease in claim(lane, limit=2)):
        work.step()
        clock.seconds += 1
        reporter.report(work)
    assert told(world) == [None, None]


def test_what_has_not_moved_is_not_written_again(world: Sessions) -> None:
    clock = Clock()
    lane = world.lane()
    world.submit(Request())
    reporter = ProgressReporter(lane, clock)
    work = echoes(claim(lane), 4)
    versions = set()
    for _ in range(4):
        clock.seconds += 1
        reporter.report(work)
        versions.update(world.rows("SELECT xmin::text FROM queue"))
    assert told(world) == [0.0]
    assert len(versions) == 2


def test_a_lane_at_rest_has_nothing_to_tell(world: Sessions) -> None:
    clock = Clock()
    reporter = ProgressReporter(world.lane(), clock)
    clock.seconds += 1
    reporter.report(None)
    assert told(world) == []


def test_only_the_lane_and_the_attempt_that_hold_it_may_tell(world: Sessions) -> None:
    lane = world.lane()
    world.submit(Request())
    (first,) = claim(lane)
    lane.note_progress([(first, 0.5)])
    lane.give_back([first])
    lane.note_progress([(first, 0.6)])
    assert told(world) == [0.5]
    (second,) = claim(lane)
    assert told(world) == [None]
    lane.note_progress([(first, 0.7)])
    assert told(world) == [None]
    lane.note_progress([(second, 0.1)])
    assert told(world) == pytest.approx([0.1])


def test_clients_see_it_only_while_a_lane_is_at_work(world: Sessions) -> None:
    query = f"SELECT status, progress FROM (SELECT {RECORD_COLUMNS} FROM predictions p {RECORD_JOINS}) seen"
    lane = world.lane()
    world.submit(Request())
    (lease,) = claim(lane)
    lane.note_progress([(lease, 0.5)])
    assert world.rows(query) == [("processing", 0.5)]
    lane.give_back([lease])
    assert world.rows(query) == [("starting", None)]
    (lease,) = claim(lane)
    lane.note_progress([(lease, 0.9)])
    lane.finish([Outcome(lease, Status.SUCCEEDED, output="1")])
    assert world.rows(query) == [("succeeded", None)]


def test_telling_does_not_wait_for_one_who_is_ending_the_same_prediction(world: Sessions) -> None:
    lane = world.lane()
    world.submit(*[Request()] * 2)
    ending, running = claim(lane, limit=2)
    world.open.begin()
    Leases(world.open.engine, lane.lane).finish([Outcome(ending, Status.SUCCEEDED, output="1")])
    lane.note_progress([(running, 0.25), (ending, 0.5)])
    world.open.end(commit=True)
    assert told(world) == [0.25]
