"""Passes: who runs beside whom, and what becomes of a pass that fails or does not fit."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_types.base import DeviceLost, Failure, ModelType, VersionSpec
from model_types.batching import BatchSession, Pass, cut
from model_types.echo import INFO


@dataclass
class Item:
    """A prepared input of a given size and kind; `fails` is what the model raises over it."""

    name: str
    size: int = 1
    kind: str = ""
    fails: Exception | None = None


class Model(ModelType):
    """Notes its passes; runs out of memory where a pass is padded to more than `memory`."""

    def __init__(self, *, waste: float = 1.0, memory: int = 1 << 30, **options: Any) -> None:
        self.info = INFO
        self.load(VersionSpec("1", "a/b", "echo", "builtin", "", options=options), "cpu")
        self.ran: list[str] = []
        self.during: Callable[[], None] = lambda: None
        self._waste = waste
        self._memory = memory

    def load(self, version: VersionSpec, device: str) -> None:
        self.spec = version

    def size(self, prepared: Item) -> int:
        return prepared.size

    def batch_key(self, prepared: Item) -> Hashable:
        return prepared.kind

    @property
    def pass_waste(self) -> float:
        return self._waste

    def predict(self, batch: Sequence[Item]) -> Sequence[str]:
        self.ran.append("".join(item.name for item in batch))
        self.during()
        if len(batch) * max(item.size for item in batch) > self._memory:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        for item in batch:
            if item.fails is not None:
                raise item.fails
        return [item.name.upper() for item in batch]


def session_of(model: Model, *items: Item) -> BatchSession:
    session = BatchSession(model)
    for item in items:
        session.add(item.name, item)
    return session


def run(session: BatchSession) -> dict[str, Any]:
    outcomes: dict[str, Any] = {}
    while len(session):
        outcomes |= session.step()
    return outcomes


def test_the_oldest_runs_first_with_those_of_its_size() -> None:
    model = Model(pass_rows=2)
    sizes = {"a": 9, "b": 100, "c": 8, "d": 90}
    session = session_of(model, *(Item(name, size) for name, size in sizes.items()))
    assert set(session.step()) == {"a", "c"}
    session.add("e", Item("e", 1))
    assert run(session).keys() == {"b", "d", "e"}
    assert model.ran == ["ac", "bd", "e"]


def test_only_those_of_one_kind_share_a_pass() -> None:
    model = Model()
    session = session_of(model, Item("a", kind="64px"), Item("b", kind="32px"), Item("c", kind="64px"))
    run(session)
    assert model.ran == ["ac", "b"]
    assert [one.bound for one in session.passes()] == ["key", "idle"]
    assert session.passes() == []


def test_a_pass_tells_its_size_its_padding_and_what_bounded_it() -> None:
    session = session_of(Model(pass_rows=8, pass_budget=20), Item("b", 10), Item("c", 10), Item("a", 5))
    run(session)
    assert session.passes() == [Pass(2, 8, 20, 20, "budget"), Pass(1, 8, 5, 5, "idle")]
    (only,) = _passes(Model(), Item("a", 5), Item("b", 10))
    assert only == Pass(2, INFO.max_batch, 15, 20, "idle")
    assert only.waste == 0.25


def _passes(model: Model, *items: Item) -> Sequence[Pass]:
    session = session_of(model, *items)
    run(session)
    return session.passes()


def test_more_padding_than_the_engine_bears_keeps_a_row_out() -> None:
    model = Model(waste=0.2)
    passes = _passes(model, Item("long", 100), Item("longer", 110), Item("short", 5))
    assert [(one.rows, one.bound) for one in passes] == [(2, "padding"), (1, "idle")]


def test_only_the_culprit_of_a_pass_fails() -> None:
    model = Model()
    culprit = Item("x", fails=ValueError("no\nsuch token"))
    outcomes = run(session_of(model, Item("a"), Item("b"), culprit, Item("c"), Item("d")))
    assert outcomes.pop("x") == Failure("model_error", "ValueError: no such token")
    assert outcomes == {name: name.upper() for name in "abcd"}


def test_a_pass_that_runs_out_of_memory_is_halved_and_the_bound_is_kept() -> None:
    model = Model(memory=30)
    items = [Item(name, 10) for name in "abcdefgh"]
    session = session_of(model, *items)
    assert run(session) == {name: name.upper() for name in "abcdefgh"}
    assert [len(ran) for ran in model.ran] == [8, 4, 2, 2, 2, 2]
    # The next session knows it from the start.
    model.ran.clear()
    assert run(session_of(model, *items)).keys() == set("abcdefgh")
    assert {len(ran) for ran in model.ran} == {2}


def test_one_that_does_not_fit_alone_fails_and_leaves_the_others_their_batches() -> None:
    model = Model(memory=1000)
    outcomes = run(session_of(model, Item("huge", 10**6), *(Item(name, 10) for name in "abcd")))
    assert outcomes.pop("huge").code == "out_of_memory"
    assert outcomes == {name: name.upper() for name in "abcd"}
    assert sorted(model.ran[-1]) == list("abcd")


def test_a_lost_device_is_nobodys_fault_and_nobody_is_tried_apart() -> None:
    class AcceleratorError(RuntimeError):
        """As PyTorch calls an error after which the device's context is of no use."""

    model = Model()
    session = session_of(model, Item("a"), Item("b", fails=AcceleratorError("CUDA error: illegal access")))
    with pytest.raises(DeviceLost, match="illegal access"):
        session.step()
    assert model.ran == ["ab"]


def test_what_is_cancelled_while_it_runs_or_waits_does_not_come_out() -> None:
    model = Model(pass_rows=2)
    session = session_of(model, *(Item(name) for name in "abcd"))

    def cancel_two() -> None:
        session.cancel("a")
        session.cancel("d")

    model.during = cancel_two
    assert set(session.waiting()) == set("abcd")
    assert run(session).keys() == {"b", "c"}
    assert len(session) == 0
    assert all("d" not in ran for ran in model.ran[1:])


@pytest.mark.slow
@given(
    sizes=st.lists(st.integers(1, 50), min_size=1, max_size=40),
    rows=st.integers(1, 10),
    budget=st.integers(1, 200),
    waste=st.floats(0, 1),
    pads=st.booleans(),
)
def test_passes_cover_all_rows_once_and_keep_every_bound(
    sizes: list[int], rows: int, budget: int, waste: float, pads: bool
) -> None:
    sizes.sort()
    bounds = {"rows": rows, "budget": budget, "waste": waste, "pads": pads}
    cuts = {
        (chosen.start, chosen.stop)
        for chosen, _ in (cut(sizes, anchor, **bounds) for anchor in range(len(sizes)))  # type: ignore[arg-type]
    }
    assert sorted(index for start, stop in cuts for index in range(start, stop)) == list(range(len(sizes)))
    for start, stop in cuts:
        taken = sizes[start:stop]
        extent = len(taken) * taken[-1] if pads else sum(taken)
        assert len(taken) == 1 or (
            len(taken) <= rows and extent <= budget and 1 - sum(taken) / extent <= waste
        )
