"""Which versions a lane keeps: as many as fit, the least recently used goes first."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from model_types.base import ModelUnavailable
from tests.workers.workshop import Workshop

Open = Callable[..., Workshop]


def test_the_least_recently_used_version_makes_room(open_workshop: Open) -> None:
    workshop = open_workshop(budget_bytes=100, a={"bytes": 50}, b={"bytes": 50}, c={"bytes": 50})
    residency = workshop.residency
    for version in "abab":
        residency.acquire(version)
    assert workshop.journal.of("load") == ["a", "b"]
    residency.acquire("a")
    residency.acquire("c")
    assert workshop.journal.of("unload") == ["b"]
    assert residency.held() == ["a", "c"]


def test_a_look_is_no_use(open_workshop: Open) -> None:
    workshop = open_workshop(budget_bytes=100, a={"bytes": 50}, b={"bytes": 50}, c={"bytes": 50})
    residency = workshop.residency
    residency.acquire("a")
    residency.acquire("b")
    assert residency.peek("a") is not None
    assert residency.peek("c") is None
    residency.acquire("c")
    assert residency.held() == ["b", "c"]


def test_what_was_just_asked_for_stays_although_it_alone_is_too_big(open_workshop: Open) -> None:
    workshop = open_workshop(budget_bytes=100, small={"bytes": 10}, big={"bytes": 500})
    residency = workshop.residency
    residency.acquire("small")
    assert residency.acquire("big").memory_bytes == 500
    assert residency.held() == ["big"]
    residency.acquire("small")
    assert residency.held() == ["small"]


def test_a_version_that_says_its_size_finds_its_room_cleared_before_it_loads(open_workshop: Open) -> None:
    mebibyte = 1 << 20
    workshop = open_workshop(budget_bytes=100 * mebibyte, old={"bytes": 60 * mebibyte}, new={"memory_mb": 60})
    workshop.residency.acquire("old")
    assert workshop.residency.acquire("new").memory_bytes == 60 * mebibyte
    assert workshop.journal.events == [("load", "old"), ("unload", "old"), ("load", "new")]


def test_what_could_not_be_loaded_is_not_tried_again_at_once(
    open_workshop: Open, caplog: pytest.LogCaptureFixture
) -> None:
    workshop = open_workshop(gone={"unavailable": "no such file"}, broken={"broken": "bad disk"}, v={})
    for _ in range(3):
        with pytest.raises(ModelUnavailable, match="no such file"):
            workshop.residency.acquire("gone")
        with caplog.at_level(logging.CRITICAL), pytest.raises(ModelUnavailable, match="OSError: bad disk"):
            workshop.residency.acquire("broken")
        with pytest.raises(ModelUnavailable, match="has been deleted"):
            workshop.residency.acquire("unknown")
    assert workshop.journal.of("load") == ["gone", "broken"]
    assert workshop.residency.held() == []


def test_options_of_the_version_go_before_those_of_the_type(open_workshop: Open) -> None:
    options = {"max_batch": 3, "budget": 7, "max_wait_ms": 20, "execution_timeout_seconds": 1.5}
    workshop = open_workshop(tuned=options, plain={})
    tuned, plain = (workshop.residency.acquire(version) for version in ("tuned", "plain"))
    assert (tuned.max_batch, tuned.budget) == (3, 7)
    assert (tuned.linger_seconds, tuned.execution_timeout_seconds) == (0.02, 1.5)
    assert (plain.max_batch, plain.linger_seconds) == (plain.info.max_batch, 0)
    assert plain.execution_timeout_seconds == plain.info.execution_timeout_seconds


def test_releasing_all_gives_everything_back(open_workshop: Open) -> None:
    workshop = open_workshop(a={}, b={})
    for version in "ab":
        workshop.residency.acquire(version)
    workshop.residency.release_all()
    assert workshop.journal.of("unload") == ["a", "b"]
    assert workshop.residency.held() == []
