"""What running predictions have come to: written twice a second at most, seen only while they run."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from db import partials
from db.documents import RECORD_COLUMNS, RECORD_JOINS
from db.leases import Lease, Leases, Outcome
from db.partials import Partial, PartialsSweep
from db.states import Status
from db.submissions import cancel
from model_types import registry
from model_types.base import VersionSpec
from tests.db.interleaving import Sessions, sessions
from tests.db.requests import POOL, VERSIONS, Request
from tests.servers import Databases
from workers.jobs import Job
from workers.partials import PartialReporter
from workers.residency import Resident
from workers.work import Work

ECHO = VersionSpec(id=VERSIONS[0], model="test/echo", model_type="echo", engine="builtin", path="")


@pytest.fixture
def world(databases: Databases) -> Iterator[Sessions]:
    with databases.emptied() as url, sessions(url) as opened:
        yield opened


class Clock:
    """Moves when it is told to."""

    def __init__(self) -> None:
        self.seconds = time.monotonic()

    def __call__(self) -> float:
        return self.seconds


def claim(lane: Leases, *, limit: int = 1) -> list[Lease]:
    return list(lane.claim(POOL, VERSIONS[0], limit=limit, budget=limit).leases)


def echo(lease: Lease, *, clock: Clock, **value: Any) -> Work:
    """A session with an echo that has just begun."""
    model = registry.engine(ECHO)
    model.load(ECHO, "cpu")
    work = Work(Resident(ECHO, model.info, model, memory_bytes=0))
    job = Job(lease, model.prepare({"text": "abcdef", "steps": 6, **value}))
    work.join(job)
    job.began_at = clock()
    return work


def seen(world: Sessions) -> list[tuple[Any, ...]]:
    """Status, output and logs as clients see them."""
    return world.rows(
        "SELECT status, output, logs FROM"
        f" (SELECT {RECORD_COLUMNS} FROM predictions p {RECORD_JOINS}) seen ORDER BY id"
    )


def test_a_text_that_streams_is_seen_as_its_chunks_twice_a_second(world: Sessions) -> None:
    world.submit(Request())
    (lease,) = claim(world.lane())
    clock = Clock()
    reporter = PartialReporter(world.engine, clock)
    work = echo(replace(lease, streams=True), clock=clock)
    outputs = []
    for _ in range(4):
        work.step()
        clock.seconds += 0.3
        reporter.report(work)
        ((status, output, _),) = seen(world)
        assert status == "processing"
        outputs.append(output)
    assert outputs == [None, ["a", "b"], ["a", "b"], ["a", "b", "c", "d"]]


def test_a_text_that_a_webhook_waits_for_is_seen_as_it_is_so_far(world: Sessions) -> None:
    world.submit(Request(webhook="http://receiver/"))
    (lease,) = claim(world.lane())
    clock = Clock()
    reporter = PartialReporter(world.engine, clock)
    work = echo(lease, clock=clock, log="once")
    work.step()
    clock.seconds += 0.5
    reporter.report(work)
    work.step()
    clock.seconds += 0.5
    reporter.report(work)
    assert seen(world)[0][:2] == ("processing", "ab")
    assert world.rows("SELECT event FROM webhook_deliveries ORDER BY event") == [("logs",), ("output",)]


def test_the_progress_of_what_runs_long_is_in_its_logs(world: Sessions) -> None:
    world.submit(Request())
    (lease,) = claim(world.lane())
    clock = Clock()
    reporter = PartialReporter(world.engine, clock)
    work = echo(lease, clock=clock)
    for _ in range(3):
        work.step()
        clock.seconds += 0.5
        reporter.report(work)
    assert seen(world) == [
        ("processing", None, " 16%|#         | 16/100\n 33%|###       | 33/100\n 50%|#####     | 50/100\n")
    ]


def test_of_what_nobody_waits_for_and_of_what_has_not_changed_nothing_is_written(world: Sessions) -> None:
    world.submit(Request())
    (lease,) = claim(world.lane())
    clock = Clock()
    reporter = PartialReporter(world.engine, clock)
    clock.seconds += 0.4
    work = echo(lease, clock=clock)
    work.step()
    clock.seconds += 0.2
    reporter.report(work)
    assert world.rows("SELECT id FROM partials") == []
    versions = set()
    for _ in range(3):
        clock.seconds += 0.5
        reporter.report(work)
        versions.update(world.rows("SELECT xmin::text FROM partials"))
    assert len(versions) == 1
    clock.seconds += 0.5
    reporter.report(None)


def test_only_the_lane_and_the_attempt_that_hold_it_may_write(world: Sessions) -> None:
    lane = world.lane()
    world.submit(Request())
    (first,) = claim(lane)
    partials.note(world.engine, [Partial(first, '"first"', "1\n")])
    lane.give_back([first])
    assert seen(world) == [("starting", None, "")]
    partials.note(world.engine, [Partial(first, '"late"', "late\n")])
    (second,) = claim(lane)
    assert seen(world) == [("processing", None, "")]
    partials.note(world.engine, [Partial(first, '"late"', "late\n")])
    partials.note(world.engine, [Partial(second, None, "2\n")])
    assert seen(world) == [("processing", None, "2\n")]


def test_the_end_has_the_last_word_and_a_cancelled_one_keeps_its_logs(world: Sessions) -> None:
    lane = world.lane()
    ended, cancelled = world.submit(*[Request()] * 2)
    for lease in claim(lane, limit=2):
        partials.note(world.engine, [Partial(lease, '"so far"', "so far\n")])
        if lease.id == ended:
            lane.finish([Outcome(lease, Status.SUCCEEDED, output='"all"', logs="all\n")])
    canceled = world.run(cancel(world.gateway, cancelled))
    assert canceled is not None
    assert canceled.logs == "so far\n"
    assert seen(world) == [("succeeded", "all", "all\n"), ("canceled", None, "so far\n")]


def test_the_steward_forgets_what_has_ended_once_a_minute(world: Sessions) -> None:
    clock = Clock()
    sweep = PartialsSweep(world.engine, clock)
    lane = world.lane()
    world.submit(*[Request()] * 2)
    ending, running = claim(lane, limit=2)
    partials.note(world.engine, [Partial(lease, None, "\n") for lease in (ending, running)])
    assert sweep.run_due()
    lane.finish([Outcome(ending, Status.SUCCEEDED, output="1")])
    assert not sweep.run_due()
    clock.seconds += 60
    assert sweep.run_due()
    assert world.rows("SELECT id FROM partials") == [(running.id,)]
