"""Rounds in which a virtual machine's host was busy with others do not count."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import count
from types import SimpleNamespace

import psutil
import pytest

from benchmarks.quiet import TRIES, quiet_rounds, stolen_seconds


def host_that_steals_in(*disturbed: int) -> tuple[Callable[[], int], Callable[[], float]]:
    """A round of 10 ms that gives its number, and its host's counter: it steals ever more."""
    numbers: Iterator[int] = count()
    stolen = 0.0

    def measure() -> int:
        nonlocal stolen
        number = next(numbers)
        time.sleep(0.01)
        if number in disturbed:
            stolen += 0.01 * (number + 1)
        return number

    return measure, lambda: stolen


def test_undisturbed_rounds_all_count() -> None:
    measure, stolen = host_that_steals_in()
    rounds = quiet_rounds(measure, 3, stolen=stolen)
    assert rounds.results == [0, 1, 2]
    assert str(rounds) == ""


def test_disturbed_rounds_are_taken_again() -> None:
    measure, stolen = host_that_steals_in(0, 2)
    rounds = quiet_rounds(measure, 3, stolen=stolen)
    assert rounds.results == [1, 3, 4]
    assert str(rounds) == "2 left out"


def test_a_host_that_never_rests_is_named_beside_the_least_disturbed_rounds() -> None:
    measure, stolen = host_that_steals_in(*range(100))
    rounds = quiet_rounds(measure, 2, stolen=stolen)
    assert rounds.results == [0, 1]
    assert rounds.left_out == 2 * TRIES - 2
    assert str(rounds).startswith("6 left out, ")
    assert str(rounds).endswith("% of the CPU time stolen")


def test_only_linux_counts_what_is_stolen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "cpu_times", lambda: SimpleNamespace(user=1.0, steal=3.5))
    assert stolen_seconds() == 3.5
    monkeypatch.setattr(psutil, "cpu_times", lambda: SimpleNamespace(user=1.0))
    assert stolen_seconds() == 0
