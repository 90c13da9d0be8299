"""Predictions lie in the partition of their week; expired weeks go at once, unless something still waits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from db.ids import floor_id
from db.leases import Outcome
from db.partitions import WEEK, drop_expired_partitions, ensure_partitions
from db.states import Status
from db.submissions import submit
from tests.db.interleaving import Sessions
from tests.db.requests import POOL, VERSIONS, Request

pytestmark = pytest.mark.own_database

MONDAY = datetime(2031, 3, 3, tzinfo=UTC)


def ensure(world: Sessions, now: datetime, *, weeks_ahead: int = 0) -> list[str]:
    with world.engine.connect() as connection:
        return ensure_partitions(connection, now=now, weeks_ahead=weeks_ahead)


def drop(world: Sessions, before: datetime) -> list[str]:
    with world.engine.connect() as connection:
        return drop_expired_partitions(connection, before=before)


def submit_at(world: Sessions, moment: datetime) -> str:
    submission = replace(Request().submission(), id=floor_id(moment), created_at=moment)
    world.run(submit(world.intake, [submission]))
    return submission.id


def partition_of(world: Sessions, identifier: str) -> str:
    return str(world.rows("SELECT tableoid::regclass::text FROM predictions WHERE id = %s", identifier)[0][0])


def test_todays_predictions_have_a_partition_from_the_start(world: Sessions) -> None:
    (identifier,) = world.submit(Request())
    assert partition_of(world, identifier) != "predictions_default"


def test_partitions_are_made_once_from_monday_to_monday(world: Sessions) -> None:
    friday = MONDAY + timedelta(days=4, hours=13)
    names = ["predictions_20310303", "predictions_20310310"]
    assert ensure(world, friday, weeks_ahead=1) == names
    assert ensure(world, friday, weeks_ahead=1) == []
    last = submit_at(world, MONDAY + WEEK - timedelta(milliseconds=1))
    first = submit_at(world, MONDAY + WEEK)
    assert [partition_of(world, last), partition_of(world, first)] == names


def test_every_partition_keeps_long_outputs_as_they_are(world: Sessions) -> None:
    ensure(world, MONDAY)
    query = (
        "SELECT DISTINCT attstorage::text FROM pg_attribute JOIN pg_partition_tree('predictions')"
        " ON attrelid = relid WHERE attname = 'output'"
    )
    assert world.rows(query) == [("e",)]


def test_a_week_that_nobody_prepared_goes_to_the_default_partition_and_stays_there(world: Sessions) -> None:
    identifier = submit_at(world, MONDAY)
    assert partition_of(world, identifier) == "predictions_default"
    assert ensure(world, MONDAY, weeks_ahead=1) == ["predictions_20310310"]


def test_an_expired_week_is_dropped_when_nothing_of_it_waits(world: Sessions) -> None:
    ensure(world, MONDAY, weeks_ahead=1)
    identifier = submit_at(world, MONDAY)
    later = submit_at(world, MONDAY + WEEK)
    assert "predictions_20310303" not in drop(world, before=MONDAY + WEEK)
    lane = world.lane()
    (lease,) = lane.claim(POOL, VERSIONS[0], limit=1, budget=1).leases
    assert lease.id == identifier
    assert "predictions_20310303" not in drop(world, before=MONDAY + WEEK)
    lane.finish([Outcome(lease, Status.SUCCEEDED, output="1")])
    assert "predictions_20310303" in drop(world, before=MONDAY + WEEK)
    assert world.rows("SELECT id FROM predictions") == [(later,)]


def test_a_week_that_has_not_expired_wholly_stays(world: Sessions) -> None:
    ensure(world, MONDAY)
    assert "predictions_20310303" not in drop(world, before=MONDAY + WEEK - timedelta(milliseconds=1))
