"""How rounds become rows, and rows a table."""

from __future__ import annotations

from benchmarks.table import Row, at_least, at_most, markdown


def test_a_ratio_is_that_of_the_medians_and_its_spread_that_of_the_rounds() -> None:
    row = Row("accept", "/s", [300, 200, 900], "hello", [1000, 1000, 2000], at_least(0.25))

    assert row.ratio == 0.3
    assert row.met is True
    assert row.cells() == ("accept", "300 /s", "1,000 /s, hello", "0.30", "0.20 … 0.45", "≥ 0.25", "yes")


def test_without_a_base_the_figure_itself_has_to_meet_the_target() -> None:
    row = Row("latency", "ms", [4.25, 6.5, 5.5], target=at_most(5))

    assert row.ratio is None
    assert row.met is False
    assert row.cells() == ("latency", "5.5 ms", "", "", "4.25 … 6.5", "≤ 5", "no")


def test_a_row_without_a_target_is_neither_met_nor_missed() -> None:
    row = Row("throughput", "/s", [1234.0])

    assert row.met is None
    assert markdown([row]).splitlines()[-1] == "| throughput | 1,234 /s |  |  |  |  |  |"


def test_a_note_stands_beside_the_rounds() -> None:
    assert Row("latency", "ms", [4, 6], note="3 left out").cells()[4] == "4 … 6, 3 left out"
    assert Row("latency", "ms", [4], note="3 left out").cells()[4] == "3 left out"
