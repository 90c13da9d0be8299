"""Which versions a lane keeps: as many as fit, the least recently used goes first."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace

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


def test_what_deployments_want_kept_is_neither_evicted_nor_does_it_expire(open_workshop: Open) -> None:
    workshop = open_workshop(
        budget_bytes=100, kept={"bytes": 50, "ttl_seconds": 0}, b={"bytes": 50}, c={"bytes": 50}
    )
    residency = workshop.residency
    residency.kept = frozenset({"kept"})
    for version in ("kept", "b", "c"):
        residency.acquire(version)
    assert residency.held() == ["kept", "c"]
    assert residency.expired() == []
    residency.kept = frozenset()
    assert residency.expired() == ["kept"]


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


def test_what_is_pinned_stays_whoever_needs_room(open_workshop: Open) -> None:
    workshop = open_workshop(budget_bytes=100, a={"bytes": 60, "pin": True}, b={"bytes": 60}, c={"bytes": 60})
    for version in "abc":
        workshop.residency.acquire(version)
    assert workshop.residency.held() == ["a", "c"]
    workshop.residency.unload("a")
    assert workshop.residency.held() == ["c"]


def test_a_version_expires_when_nobody_has_used_it_for_its_time(open_workshop: Open) -> None:
    workshop = open_workshop(
        short={"ttl_seconds": 0.05}, long={"ttl_seconds": 60}, pinned={"ttl_seconds": 0, "pin": True}
    )
    for version in ("short", "long", "pinned"):
        workshop.residency.acquire(version)
    assert workshop.residency.expired() == []
    time.sleep(0.06)
    assert workshop.residency.expired() == ["short"]
    short = workshop.residency.peek("short")
    assert short is not None
    short.took(0.01, [])
    assert workshop.residency.expired() == []


def test_an_order_to_load_tries_again_at_once_what_could_not_be_loaded(open_workshop: Open) -> None:
    workshop = open_workshop(v={"unavailable": "no such file"})
    with pytest.raises(ModelUnavailable):
        workshop.residency.acquire("v")
    workshop.versions["v"] = replace(workshop.versions["v"], options={})
    with pytest.raises(ModelUnavailable):
        workshop.residency.acquire("v")
    workshop.residency.load("v")
    assert workshop.residency.held() == ["v"]
    assert workshop.told == [("v", "no such file"), ("v", None)]


def test_warm_up_inputs_run_when_a_version_is_loaded_and_may_fail(
    open_workshop: Open, caplog: pytest.LogCaptureFixture
) -> None:
    inputs = [{"text": "one"}, {"text": "two", "poison": True}, {"nonsense": 1}, {"text": "four"}]
    workshop = open_workshop(v={"warm_up": inputs})
    workshop.residency.acquire("v")
    assert workshop.journal.of("end") == [["one"], ["four"]]
    warnings = [record.message for record in caplog.records if record.name == "workers.warming"]
    assert [line.partition(" of ")[2][:13] for line in warnings] == ["test/v failed"] * 2
    assert workshop.submit("hello")
    assert workshop.serve().of("end")[-1] == ["hello"]
