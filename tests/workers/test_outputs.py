"""Files of outputs are stored before the row that tells of them, and those of nobody are deleted."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel
from sqlalchemy.exc import OperationalError

from db.blobs import Blobs, folder_of
from db.endings import Ended
from db.ids import new_id
from db.leases import Lease, Leases, Outcome
from db.settings import BlobSettings
from model_types.base import OutputFile
from tests.workers.workshop import POOL, Workshop
from workers.events import Observers
from workers.finishing import Finisher
from workers.outputs import outcome_of, with_files_stored

Open = Callable[..., Workshop]
PNG = OutputFile("out-0.png", "image/png", b"\x89PNG\xff")


def lease() -> Lease:
    return Lease(new_id(), "lane", 2, 0, 1, {}, "ann", None, datetime.now(UTC))


class Drawn(BaseModel):
    """An output in a model of its own."""

    image: OutputFile
    labels: list[str]


@pytest.mark.parametrize(
    ("result", "written"),
    [
        (PNG, "{}"),
        ([PNG, "text"], ["{}", "text"]),
        ({"images": [{"image": PNG}], "n": 1}, {"images": [{"image": "{}"}], "n": 1}),
        (Drawn(image=PNG, labels=["a"]), {"image": "{}", "labels": ["a"]}),
        ([Drawn(image=PNG, labels=[])], [{"image": "{}", "labels": []}]),
    ],
)
def test_a_file_anywhere_in_an_output_is_written_as_a_reference(result: Any, written: Any) -> None:
    held = lease()
    outcome = outcome_of(held, result)
    (blob,) = outcome.files
    assert blob.key == f"{folder_of('predictions', held.id)}/2/out-0.png"
    assert blob.data == PNG.data
    assert outcome.output == json.dumps(written).replace("{}", f"blob:{blob.key}")


def test_a_name_without_extension_gets_its_types() -> None:
    (blob,) = outcome_of(lease(), OutputFile("out", "image/jpeg", b"x")).files
    assert blob.key.endswith("/2/out.jpg")


@pytest.mark.parametrize(
    "numbers",
    [
        [0.1, -2.5e-8, 1e300, 3],
        [[0.25, 1.0], [-0.0, 7e-5]],
        [[], [1.5]],
        [1 << 70, 0.5],
        [np.float64(0.1), True],
        [[0.5], "no number"],
    ],
)
def test_numbers_are_read_back_as_they_were(numbers: list[Any]) -> None:
    output = outcome_of(lease(), numbers).output
    assert output is not None
    assert json.loads(output) == numbers


@pytest.mark.parametrize(
    "numbers",
    [
        [0.5, math.nan],
        [[0.5], [math.inf]],
        [math.inf, -math.inf],
        [[0.5], {1: math.nan}],
        [[0.5], {1, 2}],
        [Decimal("0.5")],
    ],
)
def test_what_is_no_number_is_no_output(numbers: list[Any]) -> None:
    outcome = outcome_of(lease(), numbers)
    assert outcome.output is None
    assert "cannot be written as JSON" in (outcome.error or "")


@pytest.mark.parametrize("name", ["../out.png", "a/b.png", ".png", "", "a b.png", "ä.png"])
def test_a_name_that_is_no_part_of_a_url_fails_its_prediction(name: str) -> None:
    outcome = outcome_of(lease(), OutputFile(name, "image/png", b"x"))
    assert (outcome.status, outcome.failure, outcome.files) == ("failed", "model_error", ())
    assert "is no name for a file" in str(outcome.error)


def test_two_files_of_one_output_have_two_names() -> None:
    assert len(outcome_of(lease(), [PNG, PNG]).files) == 1
    outcome = outcome_of(lease(), [PNG, OutputFile("out-0.png", "image/png", b"another")])
    assert "two files are called 'out-0.png'" in str(outcome.error)


def finished(workshop: Workshop, result: Any) -> list[Outcome]:
    """Have all that waits end with this, as a lane does."""
    leases = workshop.leases.claim(POOL, "v", limit=100, budget=100).leases
    outcomes = [outcome_of(one, result) for one in leases]
    workshop.finisher.submit(outcomes)
    workshop.finisher.drain()
    return outcomes


def test_files_are_there_when_the_row_is(open_workshop: Open) -> None:
    workshop = open_workshop()
    workshop.submit("a", "b")
    for outcome in finished(workshop, {"image": PNG}):
        (blob,) = outcome.files
        assert workshop.blobs.read(blob.key) == PNG.data
    outputs = [row.output for row in workshop.rows("SELECT output FROM predictions ORDER BY id")]
    assert all(output["image"].startswith("blob:predictions/") for output in outputs)
    assert len({output["image"] for output in outputs}) == 2


def test_whoever_has_lost_the_lease_leaves_no_file_behind_and_touches_no_other(open_workshop: Open) -> None:
    workshop = open_workshop()
    (made,) = workshop.submit("a")
    (late,) = workshop.leases.claim(POOL, "v", limit=1, budget=1).leases
    workshop.leases.give_back([late])
    (kept,) = finished(workshop, PNG)
    workshop.finisher.submit([outcome_of(late, PNG)])
    workshop.finisher.drain()
    assert (late.attempt, kept.lease.attempt) == (1, 2)
    assert workshop.blobs.names(folder_of("predictions", made)) == ["2"]
    assert workshop.blobs.read(kept.files[0].key) == PNG.data


class ForgetfulLeases(Leases):
    """The database goes away once, when it has stored what it was given but not said so."""

    has_forgotten = False

    def finish(self, outcomes: Sequence[Outcome]) -> list[Ended]:
        ended = super().finish(outcomes)
        if not self.has_forgotten:
            self.has_forgotten = True
            raise OperationalError("", {}, Exception("connection lost"))
        return ended


def test_files_stay_where_nobody_knows_whether_their_prediction_has_ended(open_workshop: Open) -> None:
    workshop = open_workshop()
    workshop.submit("a")
    forgetful = ForgetfulLeases(workshop.engine, "lane")
    finisher = Finisher(forgetful, workshop.blobs, lambda ended: None, Observers())
    (held,) = workshop.leases.claim(POOL, "v", limit=1, budget=1).leases
    outcome = outcome_of(held, PNG)
    finisher.store([outcome])
    finisher.close()
    assert finisher.finished == 0
    assert workshop.ended()["a"][:2] == ("succeeded", f"blob:{outcome.files[0].key}")
    assert workshop.blobs.read(outcome.files[0].key) == PNG.data


def test_a_prediction_whose_output_is_refused_keeps_no_files(open_workshop: Open) -> None:
    workshop = open_workshop()
    (made,) = workshop.submit("a")
    (held,) = workshop.leases.claim(POOL, "v", limit=1, budget=1).leases
    workshop.finisher.submit([replace(outcome_of(held, PNG), output="{no json")])
    workshop.finisher.drain()
    assert workshop.ended()["a"][2:] == ("model_error", "The model's output cannot be stored.")
    assert workshop.blobs.names(folder_of("predictions", made)) == []


@pytest.mark.slow
def test_a_store_that_is_back_in_time_costs_nobody_anything(tmp_path: Path) -> None:
    path = tmp_path / "blobs"
    path.write_text("no directory")
    blobs = Blobs(BlobSettings(blob_store=str(path)))
    outcomes = [outcome_of(lease(), PNG), outcome_of(lease(), "no files")]
    threading.Timer(0.2, path.unlink).start()
    assert with_files_stored(outcomes, blobs) == outcomes
    assert blobs.read(outcomes[0].files[0].key) == PNG.data


@pytest.mark.slow
def test_a_store_that_stays_away_fails_those_with_files_and_holds_up_the_others_once(tmp_path: Path) -> None:
    path = tmp_path / "blobs"
    path.write_text("no directory")
    blobs = Blobs(BlobSettings(blob_store=str(path)))
    outcomes = [outcome_of(lease(), result) for result in (PNG, "no files", PNG, PNG, PNG)]
    began = time.monotonic()
    stored = with_files_stored(outcomes, blobs, patience_seconds=0.4)
    assert time.monotonic() - began < 0.8
    assert [one.status for one in stored] == ["failed", "succeeded", "failed", "failed", "failed"]
    assert {one.failure for one in stored if one.error} == {"storage_unavailable"}
    assert stored[0].error == "The output's files could not be stored: the store of files is out of reach."
    assert stored[1] is outcomes[1]
