"""What operators tune for all versions at once: batches that gather, and what runs right after loading."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from model_types import registry
from tests.workers.workshop import Recorder, Workshop
from workers import warming

Open = Callable[..., Workshop]


def warm(workshop: Workshop) -> Workshop:
    """Have it loaded: the first prediction of a version never waits for others."""
    workshop.submit("warm")
    workshop.serve()
    return workshop


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tuning", "batches"),
    [
        ({"batch_window_ms": 1500}, [["one", "two"]]),
        ({"batch_timeout": 1.5}, [["one", "two"]]),
        ({}, [["one"], ["two"]]),
        ({"batch_window_ms": 1500, "enable_batching": False}, [["one"], ["two"]]),
    ],
)
def test_a_batch_waits_as_long_as_its_window_for_more(
    open_workshop: Open, tuning: dict[str, float], batches: list[list[str]]
) -> None:
    workshop = warm(open_workshop(tuning=tuning))
    workshop.submit("one")
    serving = workshop.serve_aside()
    time.sleep(0.3)
    workshop.submit("two")
    serving.join()
    workshop.serve()
    assert workshop.batches()[1:] == batches


@pytest.mark.slow
def test_a_batch_that_has_filled_up_does_not_wait_any_longer(open_workshop: Open) -> None:
    workshop = warm(open_workshop(tuning={"batch_timeout": 6, "batch_size": 2}))
    workshop.submit("one")
    began = time.monotonic()
    serving = workshop.serve_aside()
    time.sleep(0.1)
    workshop.submit("two")
    serving.join()
    assert time.monotonic() - began < 4
    assert workshop.batches()[1:] == [["one", "two"]]


def test_a_versions_own_window_goes_before_the_operators(open_workshop: Open) -> None:
    workshop = open_workshop(tuning={"batch_window_ms": 1500}, v={"max_wait_ms": 20}, w={})
    assert workshop.residency.acquire("v").linger_seconds == 0.02
    assert workshop.residency.acquire("w").linger_seconds == 1.5


@pytest.mark.parametrize(
    ("tuning", "own", "largest"),
    [
        ({"batch_window_max_size": 2}, {}, 2),
        ({"batch_window_max_size": 2}, {"max_batch": 3}, 2),
        ({"batch_window_max_size": 4}, {"max_batch": 3}, 3),
        ({"enable_batching": False}, {}, 1),
    ],
)
def test_no_batch_is_larger_than_the_operator_lets_it(
    open_workshop: Open, tuning: dict[str, int], own: dict[str, int], largest: int
) -> None:
    workshop = warm(open_workshop(tuning=tuning, v=own))
    workshop.submit(*"abcdefg")
    workshop.serve()
    assert max(len(batch) for batch in workshop.batches()) == largest


def test_warm_ups_run_as_often_and_as_large_as_the_operator_says(
    open_workshop: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    own: list[str] = []
    monkeypatch.setattr(Recorder, "warm_up", lambda self: own.append(self.spec.id))
    version = {"warm_up": [{"text": "one"}, {"text": "two"}]}
    workshop = open_workshop(tuning={"warmup_steps": 2, "warmup_batch_size": 3}, v=version)
    workshop.residency.acquire("v")
    assert workshop.batches() == [["one"] * 3] * 2 + [["two"] * 3] * 2
    assert own == ["v", "v"]

    idle = open_workshop(tuning={"enable_warmup": False}, v=version)
    idle.residency.acquire("v")
    assert (idle.batches(), own) == ([], ["v", "v"])


def test_a_type_of_texts_warms_up_in_a_batch_without_inputs_of_the_versions_own(
    open_workshop: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warming, "PLAIN_INPUTS", {"recording": {"text": "plain"}})
    workshop = open_workshop(tuning={"warmup_batch_size": 3}, v={"max_batch": 2})
    workshop.residency.acquire("v")
    assert workshop.batches() == [["plain"] * 2]
    alone = open_workshop(v={})
    alone.residency.acquire("v")
    assert alone.batches() == []


@pytest.mark.parametrize("model_type", sorted(warming.PLAIN_INPUTS))
def test_the_inputs_of_these_types_are_what_the_types_take(model_type: str) -> None:
    registry.get(model_type).Input.model_validate(warming.PLAIN_INPUTS[model_type])
