"""Outcomes are stored although the database goes away, and what it refuses fails alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace
from sqlalchemy.exc import OperationalError

from cli.postgres import EmbeddedPostgres
from db.leases import Outcome
from db.states import Status
from tests.stack import wait_until
from tests.workers.workshop import POOL, Workshop
from workers.events import Observers
from workers.finishing import Finisher

Open = Callable[..., Workshop]


def claim(workshop: Workshop) -> list[Outcome]:
    """Outcomes for all that waits: each succeeds with its text."""
    leases = workshop.leases.claim(POOL, "v", limit=100, budget=100).leases
    return [Outcome(lease, Status.SUCCEEDED, output=f'"{lease.input["text"]}"') for lease in leases]


def test_an_output_that_the_database_refuses_fails_alone(open_workshop: Open) -> None:
    workshop = open_workshop()
    workshop.submit(*"abcdefg")
    outcomes = claim(workshop)
    outcomes[4] = Outcome(outcomes[4].lease, Status.SUCCEEDED, output="{no json")
    workshop.finisher.submit(outcomes)
    workshop.finisher.drain()
    ended = workshop.ended()
    assert ended.pop("e") == ("failed", None, "model_error", "The model's output cannot be stored.")
    assert ended == {text: ("succeeded", text, None, None) for text in "abcdfg"}
    assert workshop.finisher.finished == 7
    assert not workshop.finisher.has_given_up


def test_a_lane_gives_back_what_nobody_will_end(open_workshop: Open) -> None:
    workshop = open_workshop()
    workshop.submit("a")
    (outcome,) = claim(workshop)
    workshop.finisher.submit([Outcome(outcome.lease, Status.FAILED, error="a\0b")])
    workshop.finisher.drain()
    assert workshop.finisher.has_given_up
    workshop.serve()
    assert workshop.ended()["a"][0] == "succeeded"


def test_who_wants_to_hear_of_a_start_is_told_before_the_end(
    open_workshop: Open, caplog: pytest.LogCaptureFixture
) -> None:
    workshop = open_workshop()
    workshop.submit(*"abc")
    waits, waits_too, does_not = claim(workshop)
    happened: list[str] = []

    def note_started(ids: Sequence[str]) -> None:
        happened.append(f"{len(ids)} started")
        if len(happened) > 1:
            raise OperationalError("INSERT", {}, Exception("the database is away"))

    finisher = Finisher(
        workshop.leases,
        workshop.blobs,
        lambda ended: happened.append(f"{len(ended)} ended"),
        Observers(),
        note_started=note_started,
        flush=lambda: happened.append("flushed"),
    )
    start, rest = frozenset({"start", "logs"}), frozenset({"completed"})
    finisher.begin([replace(waits.lease, webhook_events=start), replace(does_not.lease, webhook_events=rest)])
    finisher.submit([waits])
    finisher.begin([replace(waits_too.lease, webhook_events=start)])
    finisher.begin([does_not.lease])
    finisher.store([waits_too, does_not])
    finisher.close()
    assert happened == ["1 started", "flushed", "1 ended", "1 started", "flushed", "2 ended"]
    assert "nobody will be told that 1 predictions have begun" in caplog.text


def test_outcomes_are_stored_in_order_and_no_more_than_a_few_wait(open_workshop: Open) -> None:
    workshop = open_workshop()
    workshop.submit(*map(str, range(20)))
    for outcome in claim(workshop):
        workshop.finisher.submit([outcome])
    workshop.finisher.drain()
    rows = workshop.rows("SELECT input->>'text' AS said FROM predictions ORDER BY completed_at, id")
    assert [row.said for row in rows] == [str(number) for number in range(20)]


@pytest.mark.slow
def test_a_lane_keeps_its_results_and_settles_its_leases_over_a_restart_of_the_database(
    recording_type: None, own_postgres: EmbeddedPostgres, redis_url: str, tmp_path: Path
) -> None:
    workshop = Workshop(own_postgres.url, redis_url, blob_store=tmp_path / "blobs", v={"max_batch": 2})
    try:
        workshop.submit(*"abcdef", seconds=0.3)
        serving = workshop.serve_aside()
        wait_until(lambda: len(workshop.batches()) == 1)
        own_postgres.stop()
        time.sleep(0.5)
        own_postgres.start()
        serving.join(timeout=30)
        assert not serving.is_alive()
        for _ in range(6):
            workshop.serve()
        assert {status for status, *_ in workshop.ended().values()} == {"succeeded"}
        assert workshop.rows("SELECT id FROM queue") == []
        # Nothing that was computed before the restart was computed twice.
        assert [batch for batch in workshop.batches() if "a" in batch] == [["a", "b"]]
    finally:
        workshop.close()
