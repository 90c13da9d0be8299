"""Batch work fills what other work leaves idle."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from db import lanes
from db.pools import deployment_pool
from db.states import Priority
from db.tables.queue_entry import PRIORITY_STEP
from tests.stack import wait_until
from tests.workers.workshop import POOL, Workshop
from workers.claiming import LOOK_SECONDS

Open = Callable[..., Workshop]

BATCH = Priority.BATCH
DEPLOYED = deployment_pool(POOL, "d")


def lines(count: int) -> list[str]:
    return [f"line {number}" for number in range(count)]


@pytest.mark.slow
def test_passes_of_batch_work_are_as_short_as_the_setting_says(open_workshop: Open) -> None:
    workshop = open_workshop(v={"max_batch": 8, "row_seconds": 0.02}, batch_pass_seconds=0.11)
    workshop.submit(*lines(20), priority=BATCH)
    workshop.serve()
    rows = [len(batch) for batch in workshop.batches()]
    assert sum(rows) == 20
    assert 2 <= max(rows) <= 5
    workshop.submit(*"abcdefgh")
    workshop.serve()
    assert workshop.batches()[-1] == list("abcdefgh")


def test_a_row_that_takes_longer_than_a_pass_may_runs_alone(open_workshop: Open) -> None:
    workshop = open_workshop(v={"row_seconds": 0.02}, batch_pass_seconds=0.001)
    workshop.submit(*lines(4), priority=BATCH)
    workshop.serve()
    assert workshop.batches() == [[line] for line in lines(4)]


@pytest.mark.slow
def test_what_comes_meanwhile_waits_for_one_short_pass_only_and_runs_without_batch_work(
    open_workshop: Open,
) -> None:
    workshop = open_workshop(v={"max_batch": 8, "row_seconds": 0.02})
    workshop.submit(*lines(30), priority=BATCH)
    serving = workshop.serve_aside()
    wait_until(lambda: len(workshop.batches()) > 2)
    workshop.submit("now", "and then")
    begun = len(workshop.batches())
    serving.join()
    assert workshop.batches().index(["now", "and then"]) <= begun + 1
    assert workshop.batches()[-1] != ["now", "and then"]


@pytest.mark.slow
def test_another_loaded_model_goes_between_two_passes_while_the_session_keeps_its_place(
    open_workshop: Open,
) -> None:
    workshop = open_workshop(v={"row_seconds": 0.02}, w={})
    workshop.residency.acquire("w")
    workshop.submit(*lines(30), priority=BATCH)
    serving = workshop.serve_aside()
    wait_until(lambda: len(workshop.batches()) > 2)
    workshop.submit("now", version="w", pool=DEPLOYED)
    begun = len(workshop.batches())
    serving.join()
    assert workshop.batches().index(["now"]) <= begun + 1
    prepared = workshop.journal.of("prepare")
    assert len(prepared) == len(set(prepared))


@pytest.mark.slow
def test_what_has_not_begun_is_given_back_before_a_model_is_loaded_for_other_work(
    open_workshop: Open,
) -> None:
    workshop = open_workshop(v={"row_seconds": 0.02}, w={"load_seconds": 0.5})
    workshop.submit(*lines(30), priority=BATCH)
    workshop.serve_aside()
    wait_until(lambda: len(workshop.batches()) > 2)
    (urgent,) = workshop.submit("now", version="w")
    wait_until(lambda: "w" in workshop.journal.of("load"))
    assert workshop.rows("SELECT id FROM queue WHERE lane IS NOT NULL") == [(urgent,)]


@pytest.mark.slow
def test_batch_work_that_is_left_after_a_slice_waits_for_any_lane(
    open_workshop: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.claiming.SLICE_SECONDS", 0.2)
    workshop = open_workshop(v={"row_seconds": 0.02})
    workshop.submit(*lines(30), priority=BATCH)
    workshop.serve()
    assert 0 < len(workshop.batches()) < 20
    assert workshop.rows("SELECT DISTINCT lane, losses FROM queue") == [(None, 0)]
    assert workshop.client.llen(POOL) > 0


@pytest.mark.slow
def test_a_stopping_lane_gives_its_batch_work_back(open_workshop: Open) -> None:
    workshop = open_workshop(v={"row_seconds": 0.05})
    workshop.submit(*lines(10), priority=BATCH)
    serving = workshop.serve_aside()
    wait_until(lambda: len(workshop.batches()) > 1)
    workshop.stopping = True
    serving.join()
    assert len(workshop.batches()) < 5
    assert workshop.rows("SELECT DISTINCT lane, losses FROM queue") == [(None, 0)]


@pytest.mark.slow
def test_a_slice_ends_though_other_work_keeps_going_before_batch_work(
    open_workshop: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.claiming.SLICE_SECONDS", 0.2)
    workshop = open_workshop(v={"max_batch": 1})
    workshop.submit(*lines(10), priority=BATCH, seconds=0.1)
    workshop.serve_aside()
    wait_until(lambda: len(workshop.batches()) > 0)
    workshop.submit(*(f"urgent {number}" for number in range(40)), seconds=0.05)
    wait_until(lambda: workshop.client.llen(POOL) > 0 and workshop.runner.work is None)
    assert len(workshop.batches()) < 20


@pytest.mark.slow
def test_a_pool_gets_no_turn_for_batch_work_while_others_have_other_work(
    open_workshop: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.claiming.SLICE_SECONDS", 0.1)
    workshop = open_workshop(v={}, w={"max_batch": 1})
    for version in "vw":
        workshop.residency.acquire(version)
    workshop.submit("patient", priority=BATCH)
    workshop.submit(*"abcdef", version="w", pool=DEPLOYED, seconds=0.05)
    while len(workshop.batches()) < 7:
        workshop.serve()
    assert workshop.batches() == [*(list(letter) for letter in "abcdef"), ["patient"]]


@pytest.mark.slow
def test_no_model_is_loaded_for_batch_work_until_other_work_has_paused(open_workshop: Open) -> None:
    workshop = open_workshop(v={}, w={}, batch_hold_off_seconds=1.0)
    workshop.submit("now")
    began = time.monotonic()
    workshop.serve()
    workshop.submit("patient", version="w", priority=BATCH)
    while "w" not in workshop.journal.of("load"):
        workshop.serve()
        time.sleep(0.05)
    assert time.monotonic() - began > 1.0
    assert workshop.batches() == [["now"], ["patient"]]


@pytest.mark.slow
def test_two_batches_do_not_push_each_others_models_out_at_every_turn(
    open_workshop: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.claiming.SLICE_SECONDS", 0.1)
    options = {"row_seconds": 0.02, "bytes": 10}
    workshop = open_workshop(
        v=options, w=options, budget_bytes=10, affinity_seconds=0.0, batch_hold_off_seconds=60.0
    )
    for text in lines(8):
        workshop.submit(f"v {text}", version="v", priority=BATCH)
        workshop.submit(f"w {text}", version="w", priority=BATCH)
    while len(workshop.ended()) > sum(status == "succeeded" for status, *_ in workshop.ended().values()):
        workshop.serve()
    assert workshop.journal.of("load") == ["v", "w"]


@pytest.mark.slow
@pytest.mark.parametrize("loaded", [True, False])
def test_batch_work_does_not_starve_behind_other_pools_and_models(
    open_workshop: Open, monkeypatch: pytest.MonkeyPatch, loaded: bool
) -> None:
    monkeypatch.setattr("workers.claiming.SLICE_SECONDS", 0.05)
    monkeypatch.setattr("workers.backfill.STARVED_SECONDS", 0.2)
    workshop = open_workshop(v={}, w={"max_batch": 1}, batch_hold_off_seconds=60.0)
    for version in "vw" if loaded else "w":
        workshop.residency.acquire(version)
    workshop.submit("patient", priority=BATCH)
    workshop.submit(*lines(40), version="w", pool=DEPLOYED, seconds=0.02)
    while ["patient"] not in workshop.batches():
        workshop.serve()
    assert 0 < workshop.batches().index(["patient"]) < 40


@pytest.mark.slow
def test_batch_work_that_has_aged_goes_before_what_came_later(open_workshop: Open) -> None:
    workshop = open_workshop(v={"max_batch": 4})
    workshop.submit("warm")
    workshop.serve()
    workshop.submit("aged", priority=BATCH)
    workshop.rows(f"UPDATE pool_clocks SET virtual_time = {3 * PRIORITY_STEP} RETURNING 1")
    workshop.submit(*"abcd")
    time.sleep(LOOK_SECONDS)
    workshop.serve()
    assert workshop.batches()[1:] == [["aged"], list("abcd")]


def test_batch_work_that_a_lane_died_with_runs_alone(open_workshop: Open) -> None:
    workshop = open_workshop(v={"max_batch": 8})
    workshop.submit(*"abc", priority=BATCH)
    dead = workshop.lane("dead", slot=1)
    dead.claim(POOL, "v", limit=2, budget=8)
    lanes.register(workshop.engine, lanes.LaneInfo("heir", "worker", 1, "here", 2, [POOL]))
    workshop.submit(*"de", priority=BATCH)
    for _ in range(4):
        workshop.serve()
    assert workshop.batches()[:2] == [["a"], ["b"]]
    assert {status for status, *_ in workshop.ended().values()} == {"succeeded"}
