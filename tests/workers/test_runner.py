"""What a lane does with what waits: batches, joins, failures, and what it gives back."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from db import lanes
from db.ids import new_id
from db.states import Priority
from db.waiting import WaitingVersion
from tests.stack import wait_until
from tests.workers.workshop import POOL, Workshop
from workers import claiming
from workers.claiming import LOOK_SECONDS, SLICE_SECONDS

Open = Callable[..., Workshop]


def test_what_waits_runs_in_batches_of_at_most_what_fits(open_workshop: Open) -> None:
    workshop = open_workshop(v={"max_batch": 4})
    workshop.submit(*"abcdefghij")
    workshop.serve()
    assert workshop.batches() == [list("abcd"), list("efgh"), list("ij")]
    assert {status for status, *_ in workshop.ended().values()} == {"succeeded"}
    assert {text: output for text, (_, output, *_) in workshop.ended().items()} == {
        t: t for t in "abcdefghij"
    }
    assert workshop.rows("SELECT id FROM queue") == []


def test_a_version_that_is_not_loaded_is_loaded_for_the_first_and_the_rest_join_it(
    open_workshop: Open,
) -> None:
    workshop = open_workshop(v={"max_batch": 8})
    workshop.submit(*"abc")
    workshop.serve()
    assert workshop.journal.of("load") == ["v"]
    assert workshop.batches() == [list("abc")]


@pytest.mark.slow
def test_the_next_batch_is_prepared_while_the_device_computes(open_workshop: Open) -> None:
    workshop = open_workshop(v={"max_batch": 2})
    workshop.submit(*"abcdef", seconds=0.1)
    events = workshop.serve().events
    for these, next_one in ((["a", "b"], "c"), (["c", "d"], "e")):
        # Not after it, although they do not fit into its batch.
        assert events.index(("prepare", next_one)) < events.index(("end", these))


@pytest.mark.slow
def test_a_batch_is_stored_while_the_next_one_computes(open_workshop: Open) -> None:
    workshop = open_workshop(v={"max_batch": 1})
    workshop.submit("first", "second", "third", seconds=0.3)
    serving = workshop.serve_aside()
    wait_until(lambda: ["third"] in workshop.batches())
    assert workshop.ended()["first"][0] == "succeeded"
    assert workshop.ended()["third"][0] == "starting"
    serving.join()


def test_only_the_culprit_of_a_batch_that_raises_fails(open_workshop: Open) -> None:
    workshop = open_workshop(v={"max_batch": 8})
    workshop.submit(*"abcde")
    workshop.submit("culprit", poison=True)
    workshop.submit(*"fg")
    workshop.serve()
    ended = workshop.ended()
    assert ended.pop("culprit") == ("failed", None, "model_error", "RuntimeError: poisoned: a batch")
    assert {status for status, *_ in ended.values()} == {"succeeded"}


def test_what_does_not_fit_the_model_fails_before_it_runs(open_workshop: Open) -> None:
    workshop = open_workshop()
    workshop.submit("unfit", unfit=True)
    workshop.submit("wrong type", seconds="soon")
    workshop.submit("fine")
    workshop.serve()
    assert workshop.batches() == [["fine"]]
    ended = workshop.ended()
    assert ended["unfit"] == ("failed", None, "invalid_input", "this does not fit")
    status, _, failure, error = ended["wrong type"]
    assert (status, failure) == ("failed", "invalid_input")
    assert error is not None
    assert error.startswith("input.seconds: ")


def test_an_output_that_is_no_json_fails_alone(open_workshop: Open) -> None:
    workshop = open_workshop()
    workshop.submit("fine", "nan", "bytes", "half a character", "nested", "own failure", "fine too")
    workshop.serve()
    ended = workshop.ended()
    assert ended.pop("own failure") == ("failed", None, "out_of_memory", "too\ufffdbig ?")
    assert {text for text, (status, *_) in ended.items() if status == "succeeded"} == {"fine", "fine too"}
    for status, _, failure, error in ended.values():
        if status != "succeeded":
            assert (status, failure) == ("failed", "model_error")
            assert error is not None
            assert error.startswith("The model's output cannot be written as JSON: ")


def test_a_version_that_cannot_be_loaded_fails_its_predictions_and_not_the_lane(open_workshop: Open) -> None:
    workshop = open_workshop(gone={"unavailable": "no such file: x"}, broken={"broken": "bad disk"}, v={})
    workshop.submit(*"abc", version="gone")
    workshop.submit("d", version="broken")
    workshop.submit("e", version="deleted")
    workshop.submit("f", version="v")
    for _ in range(4):
        workshop.serve()
    ended = workshop.ended()
    assert {ended[text] for text in "abc"} == {("failed", None, "model_unavailable", "no such file: x")}
    assert ended["d"][3] == "test/broken cannot be loaded: OSError: bad disk"
    assert ended["e"][3] == "The version has been deleted."
    assert ended["f"][0] == "succeeded"


def test_what_a_lane_died_with_runs_alone(open_workshop: Open) -> None:
    workshop = open_workshop(v={"max_batch": 8})
    workshop.submit(*"abc")
    dead = workshop.lane("dead", slot=1)
    dead.claim(POOL, "v", limit=2, budget=8)
    lanes.register(workshop.engine, lanes.LaneInfo("heir", "worker", 1, "here", 2, [POOL]))
    workshop.submit(*"de")
    for _ in range(4):
        workshop.serve()
    assert workshop.batches()[:2] == [["a"], ["b"]]
    assert sorted(text for batch in workshop.batches()[2:] for text in batch) == ["c", "d", "e"]
    assert {status for status, *_ in workshop.ended().values()} == {"succeeded"}


@pytest.mark.slow
def test_a_stopping_lane_gives_back_at_once_what_it_has_not_begun(open_workshop: Open) -> None:
    workshop = open_workshop(v={"max_batch": 1})
    workshop.submit("before")
    workshop.serve()
    workshop.submit("running", "prepared", "waiting", seconds=0.3)
    serving = workshop.serve_aside()
    wait_until(lambda: "prepared" in workshop.journal.of("prepare"))
    workshop.stopping = True
    serving.join()
    assert workshop.batches() == [["before"], ["running"]]
    ended = workshop.ended()
    assert [ended[text][0] for text in ("running", "prepared", "waiting")] == ["succeeded", *["starting"] * 2]
    assert workshop.rows("SELECT lane, losses FROM queue") == [(None, 0)] * 2


def test_a_stopping_lane_takes_nothing(open_workshop: Open) -> None:
    workshop = open_workshop()
    workshop.submit("a")
    workshop.stopping = True
    workshop.serve()
    assert workshop.batches() == []
    assert workshop.rows("SELECT lane FROM queue") == [(None,)]


@pytest.mark.slow
def test_a_lane_leaves_a_backlog_after_its_slice_and_rings_for_it(open_workshop: Open) -> None:
    workshop = open_workshop(v={"max_batch": 1})
    count = 20
    workshop.submit(*map(str, range(count)), seconds=0.15)
    began = time.monotonic()
    workshop.serve()
    assert SLICE_SECONDS < time.monotonic() - began < 2 * SLICE_SECONDS
    assert 0 < len(workshop.batches()) < count
    assert workshop.rows("SELECT count(*) FROM queue WHERE lane IS NOT NULL") == [(0,)]
    assert workshop.client.llen(POOL) > 0


@pytest.mark.slow
def test_a_lane_that_was_woken_ahead_looks_until_it_has_what_it_expects(
    open_workshop: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another one that it finds meanwhile does not do instead."""
    monkeypatch.setattr(claiming, "EXPECT_SECONDS", 30.0)
    workshop = open_workshop(v={})
    serving = workshop.serve_aside(expected := new_id())
    workshop.submit("other")
    wait_until(lambda: workshop.ended().get("other", ("",))[0] == "succeeded")
    assert serving.is_alive()
    workshop.submit("expected", id=expected)
    serving.join(timeout=10)
    assert not serving.is_alive()
    assert workshop.batches() == [["other"], ["expected"]]


def test_a_lane_that_was_woken_ahead_looks_once_more_when_its_time_is_over(
    open_workshop: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else what is committed between its last look and the end of that time would have no bell."""
    monkeypatch.setattr(claiming, "EXPECT_SECONDS", 0.05)
    workshop = open_workshop(v={})
    began, looks = time.monotonic(), []
    look = workshop.leases.waiting

    def noting(pool: str) -> list[WaitingVersion]:
        looks.append(time.monotonic() - began)
        return look(pool)

    monkeypatch.setattr(workshop.leases, "waiting", noting)
    workshop.serve(new_id())
    assert looks[-1] >= 0.05
    assert workshop.batches() == []


def test_a_lingering_version_waits_for_company_and_counts_from_the_first_arrival(open_workshop: Open) -> None:
    workshop = open_workshop(v={"max_batch": 4, "max_wait_ms": 400})
    workshop.submit("warm")
    workshop.serve()
    workshop.submit("first")
    serving = workshop.serve_aside()
    time.sleep(0.1)
    workshop.submit("second")
    serving.join()
    assert workshop.batches()[-1] == ["first", "second"]
    # A full batch does not linger, nor does one whose first arrival has waited already.
    workshop.submit(*"abcd")
    began = time.monotonic()
    workshop.serve()
    workshop.submit("late")
    time.sleep(0.4)
    workshop.serve()
    assert time.monotonic() - began < 0.4 + 0.35
    assert workshop.batches()[-2:] == [list("abcd"), ["late"]]


def test_costs_bound_the_batch_that_a_version_was_loaded_for_too(open_workshop: Open) -> None:
    workshop = open_workshop(v={"max_batch": 8, "budget": 3})
    workshop.submit(*"abc")
    with workshop.engine.connect() as connection:
        connection.exec_driver_sql("UPDATE queue SET cost = 2")
    workshop.serve()
    assert workshop.batches() == [["a"], ["b"], ["c"]]


def test_costs_bound_a_batch_as_its_budget_says(open_workshop: Open) -> None:
    workshop = open_workshop(v={"max_batch": 8, "budget": 3})
    workshop.submit(*"abcdef")
    with workshop.engine.connect() as connection:
        connection.exec_driver_sql("UPDATE queue SET cost = 2")
    workshop.submit("warm")
    for _ in range(8):
        workshop.serve()
    assert all(len(batch) == 1 for batch in workshop.batches()[1:-1])
    assert {status for status, *_ in workshop.ended().values()} == {"succeeded"}


@pytest.mark.slow
def test_a_lease_that_is_void_leaves_no_trace(open_workshop: Open) -> None:
    workshop = open_workshop()
    (running,) = workshop.submit("running", seconds=0.4)
    serving = workshop.serve_aside()
    wait_until(lambda: ["running"] in workshop.batches())
    lanes.register(workshop.engine, lanes.LaneInfo("heir", "worker", 0, "here", 2, [POOL]))
    serving.join()
    assert workshop.ended()["running"][0] == "starting"
    assert workshop.rows("SELECT id, lane, losses FROM queue") == [(running, None, 1)]


@pytest.mark.slow
@pytest.mark.parametrize("affinity_seconds", [60.0, 0.0])
def test_a_loaded_version_goes_first_until_another_has_waited_for_too_long(
    open_workshop: Open, affinity_seconds: float
) -> None:
    workshop = open_workshop(affinity_seconds=affinity_seconds, cold={}, warm={})
    workshop.submit("once", version="warm")
    workshop.serve()
    workshop.submit("older", version="cold")
    workshop.submit("newer", version="warm")
    time.sleep(LOOK_SECONDS)
    for _ in range(2):
        workshop.serve()
    first, second = workshop.batches()[1:]
    assert (first, second) == ((["newer"], ["older"]) if affinity_seconds else (["older"], ["newer"]))


@pytest.mark.slow
def test_patient_ones_of_another_version_wait_while_urgent_ones_come(
    open_workshop: Open,
) -> None:
    workshop = open_workshop(affinity_seconds=0.0, batch={}, warm={})
    workshop.submit("once", version="warm")
    workshop.serve()
    workshop.submit("patient", version="batch", priority=Priority.BATCH)
    workshop.submit("urgent", version="warm")
    time.sleep(LOOK_SECONDS)
    for _ in range(2):
        workshop.serve()
    assert workshop.batches()[1:] == [["urgent"], ["patient"]]
