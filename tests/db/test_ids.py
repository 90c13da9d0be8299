"""Ids sort as they were made, and tell when that was."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import hypothesis.strategies as st
import pytest
from hypothesis import given

from db.ids import ID_LENGTH, floor_id, new_id, time_of
from tests.db.interleaving import Sessions

MOMENTS = st.datetimes(
    min_value=datetime(1970, 1, 1), max_value=datetime(9999, 12, 31), timezones=st.just(UTC)
)


def test_ids_of_one_process_rise() -> None:
    ids = [new_id() for _ in range(10_000)]
    assert ids == sorted(set(ids))
    assert {len(identifier) for identifier in ids} == {ID_LENGTH}


def test_an_id_tells_when_it_was_made() -> None:
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    assert before <= time_of(new_id()) <= datetime.now(UTC)


@given(MOMENTS)
def test_the_lowest_id_of_a_moment_tells_that_moment(moment: datetime) -> None:
    whole = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    assert time_of(floor_id(moment)) == whole


@pytest.mark.slow
@given(st.lists(MOMENTS, min_size=2))
def test_ids_sort_as_their_moments_do(moments: list[datetime]) -> None:
    whole = [moment.replace(microsecond=moment.microsecond // 1000 * 1000) for moment in moments]
    assert sorted(map(floor_id, whole)) == [floor_id(moment) for moment in sorted(whole)]


@pytest.mark.parametrize("wrong", ["", "0" * 25, "0" * 27, "0" * 25 + "w", "0" * 25 + "A", "v" * 26])
def test_what_is_no_id_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError):
        time_of(wrong)


def test_postgresql_sorts_ids_as_python_does(world: Sessions) -> None:
    ids = [floor_id(datetime(2026, 1, 1, tzinfo=UTC) + timedelta(milliseconds=37 * n)) for n in range(500)]
    found = world.rows('SELECT id FROM unnest(%s::text[]) AS id ORDER BY id COLLATE "C"', ids[::-1])
    assert [row[0] for row in found] == ids
