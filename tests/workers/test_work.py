"""A session whose steps take too long: who is asked to stop, who fails, and who has not begun."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Event

import pytest
from pydantic import BaseModel

from db.leases import Lease
from model_types.base import ModelType, TypeInfo, VersionSpec
from tests.stack import wait_until
from workers.jobs import Job
from workers.residency import Resident
from workers.work import Work

LIMIT_SECONDS = 0.2
TOO_LONG_SECONDS = 20.0


@dataclass
class Task:
    """Something that takes too long unless it is told to stop."""

    begun: Event = field(default_factory=Event)
    told_to_stop: Event = field(default_factory=Event)


class Plodder(ModelType):
    """Works on one task at a time, and stops when it is told to."""

    def load(self, version: VersionSpec, device: str) -> None:
        self.spec = version

    def predict(self, batch: Sequence[Task]) -> Sequence[str]:
        for task in batch:
            task.begun.set()
            task.told_to_stop.wait(TOO_LONG_SECONDS)
        return ["done" for _ in batch]

    def cancel(self, prepared: Task) -> None:
        prepared.told_to_stop.set()


def plodding(**tasks: Task) -> Work:
    info = TypeInfo("plodding", "", BaseModel, str, engines={}, default_engine="")
    spec = VersionSpec(
        "v",
        "test/plodder",
        "plodding",
        "",
        "",
        options={"pass_rows": 1, "execution_timeout_seconds": LIMIT_SECONDS},
    )
    model = Plodder()
    model.info = info
    model.load(spec, "cpu")
    work = Work(Resident(spec, info, model, memory_bytes=0))
    for name, task in tasks.items():
        work.join(Job(lease(name), task))
    return work


def lease(name: str) -> Lease:
    return Lease(
        name, "lane", 1, 0, cost=1, input={}, owner_id="ann", request_id=None, claimed_at=datetime.now(UTC)
    )


def test_a_step_that_takes_too_long_is_asked_to_stop_and_who_waits_is_spared() -> None:
    first, second = Task(), Task()
    work = plodding(first=first, second=second)
    with ThreadPoolExecutor(1) as lane:
        began = time.monotonic()
        stepping = lane.submit(work.step)
        assert first.begun.wait(5)
        assert [one.id for one in work.running()] == ["first"]
        work.interrupt()
        assert not first.told_to_stop.is_set()
        wait_until(lambda: work.overdue_seconds() > 0, 5)
        work.interrupt()
        (ended,) = stepping.result(timeout=5)
        assert time.monotonic() - began < TOO_LONG_SECONDS / 2
    assert (ended.lease.id, ended.failure) == ("first", "execution_timeout")
    assert ended.error == f"The prediction ran for longer than {LIMIT_SECONDS} seconds."
    assert [one.id for one in work.leases()] == ["second"]
    assert work.running() == []
    second.told_to_stop.set()
    assert [(one.lease.id, one.output) for one in work.step()] == [("second", '"done"')]


@pytest.mark.slow
def test_between_two_steps_there_is_nothing_to_interrupt() -> None:
    work = plodding(only=(task := Task()))
    time.sleep(2 * LIMIT_SECONDS)
    work.interrupt()
    assert work.overdue_seconds() == 0
    assert not task.told_to_stop.is_set()
