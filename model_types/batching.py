"""Which predictions run through a model together: those of one kind and of like size."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from model_types.errors import DeviceLost

if TYPE_CHECKING:
    from model_types.base import Failure, ModelType, Tell

MESSAGE_CHARACTERS = 500
_HERE = f"{Path(__file__).parent}{os.sep}"

# Why a pass has no more rows: it is full, its budget or the share of padding is reached, the others have
# another batch key, there were no others even after a wait for them (linger), or without one (idle).
Bound = Literal["full", "budget", "padding", "key", "linger", "idle"]


@dataclass(frozen=True, slots=True)
class Pass:
    """One run through a model: how many rows it had of how many it may have, and what padding cost.

    `size` is the sum of the rows' sizes, `padded` what the device computes: rows times the largest where it
    pads.
    """

    rows: int
    limit: int
    size: int
    padded: int
    bound: Bound

    @property
    def waste(self) -> float:
        """The share of the work that is padding, 0 to 1."""
        return 1 - self.size / self.padded if self.padded else 0.0


class BatchSession:
    """Predictions wait here for their pass; each `step()` is one pass over some that go well together.

    A pass takes the oldest along, so nobody waits for ever, with those of the same batch key that stand
    beside it when all are cut into passes by size. Others may join between two passes. When memory runs
    out, the pass is halved, and later ones keep to what has fitted; when a pass fails otherwise, its halves
    are tried, so that only the culprit fails.
    """

    def __init__(
        self, engine: ModelType, *, predict: Callable[[Sequence[Any]], Sequence[Any | Failure]] | None = None
    ) -> None:
        """`predict` computes a pass in place of the engine's."""
        self._engine = engine
        self._predict = predict or engine.predict
        self._waiting: dict[str, Any] = {}
        self._sizes: dict[str, int] = {}
        self._running: dict[str, Any] = {}
        self._listeners: dict[str, Tell] = {}
        self._cancelled: set[str] = set()
        self._passes: list[Pass] = []
        self._longest_pass: int | None = None

    def __len__(self) -> int:
        return len(self._waiting) + len(self._running)

    def room(self) -> int:
        return self._engine.max_batch - len(self)

    def add(self, key: str, prepared: Any) -> None:
        self._sizes[key] = max(1, self._engine.size(prepared))
        self._waiting[key] = prepared

    def cancel(self, key: str) -> None:
        self._cancelled.add(key)
        if (prepared := self._running.get(key)) is not None:
            self._engine.cancel(prepared)

    def listen(self, key: str, tell: Tell) -> None:
        self._listeners[key] = tell
        if (prepared := self._running.get(key)) is not None:
            self._engine.listen(prepared, tell)

    def progress(self) -> Mapping[str, float]:
        """How far those in the running pass have come, 0 to 1, as far as the engine tells."""
        told = {key: self._engine.progress(prepared) for key, prepared in list(self._running.items())}
        return {key: share for key, share in told.items() if share is not None}

    def waiting(self) -> Collection[str]:
        return self._waiting.keys()

    def passes(self) -> Sequence[Pass]:
        passes, self._passes = self._passes, []
        return passes

    def shorten(self, padded: int) -> None:
        self._longest_pass = padded

    def step(self) -> Mapping[str, Any | Failure]:
        self._forget_cancelled()
        keys, bound = self._next_pass()
        self._running = {key: self._waiting.pop(key) for key in keys}
        for key in self._cancelled & self._running.keys():
            # Cancelled since the pass was chosen, when it was not to be found among those who run.
            self._engine.cancel(self._running[key])
        for key in self._listeners.keys() & self._running.keys():
            self._engine.listen(self._running[key], self._listeners[key])
        sizes = [self._sizes[key] for key in keys]
        try:
            outcomes = self._run(self._running) if keys else {}
        finally:
            self._running = {}
        for key in keys:
            if key in outcomes or key in self._cancelled:
                self._sizes.pop(key, None)
                self._listeners.pop(key, None)
        if keys and outcomes:
            limit = self._engine.pass_rows
            self._passes.append(Pass(len(keys), limit, sum(sizes), self._extent(sizes), bound))
        wanted = {key: outcome for key, outcome in outcomes.items() if key not in self._cancelled}
        self._cancelled &= self._waiting.keys()
        return wanted

    def _forget_cancelled(self) -> None:
        for key in list(self._cancelled):
            if self._waiting.pop(key, None) is not None:
                self._sizes.pop(key, None)
                self._listeners.pop(key, None)
            self._cancelled.discard(key)

    def _next_pass(self) -> tuple[list[str], Bound]:
        """The keys of the next pass, in the order in which they came, and what kept others out of it."""
        if not self._waiting:
            return [], "idle"
        oldest = next(iter(self._waiting))
        kind = self._engine.batch_key(self._waiting[oldest])
        alike = [key for key, prepared in self._waiting.items() if self._engine.batch_key(prepared) == kind]
        # Passes are cut from the end of the line: where nothing is padded, the oldest stand there.
        line = sorted(alike, key=self._sizes.__getitem__) if self._engine.pads else alike[::-1]
        chosen, bound = cut(
            [self._sizes[key] for key in line],
            line.index(oldest),
            rows=self._engine.pass_rows,
            budget=self._budget,
            waste=self._engine.pass_waste,
            pads=self._engine.pads,
        )
        rows = chosen.stop - chosen.start
        if rows == self._engine.pass_rows:
            bound = "full"
        elif rows == len(line) < len(self._waiting):
            bound = "key"
        taken = set(line[chosen])
        return [key for key in alike if key in taken], bound

    @property
    def _budget(self) -> int:
        limit = self._engine.padded_limit
        return limit if self._longest_pass is None else min(limit, self._longest_pass)

    def _extent(self, sizes: Sequence[int]) -> int:
        """What the device computes for rows of these sizes."""
        return len(sizes) * max(sizes) if self._engine.pads else sum(sizes)

    def _run(self, rows: dict[str, Any]) -> dict[str, Any | Failure]:
        """The outcomes of a pass; none where memory has run out: the rows wait for a smaller pass."""
        try:
            return dict(zip(rows, self._predict(list(rows.values())), strict=True))
        except DeviceLost:
            raise
        except Exception as error:  # Whatever model code raises.
            if type(error).__name__ == "AcceleratorError":
                raise DeviceLost(one_line(error)) from error
            failure = failure_of(error)
        # Out of the `except`, whose traceback would keep the batch's tensors alive.
        release_cached_memory()
        if len(rows) == 1:
            return dict.fromkeys(rows, failure)
        if failure.code == "out_of_memory":
            self._engine.padded_limit = self._extent([self._sizes[key] for key in rows]) // 2
            self._waiting = {**rows, **self._waiting}
            return {}
        keys = list(rows)
        middle = len(keys) // 2
        outcomes = self._run({key: rows[key] for key in keys[:middle]})
        return outcomes | self._run({key: rows[key] for key in keys[middle:]})


def cut(
    sizes: Sequence[int], anchor: int, *, rows: int, budget: int, waste: float, pads: bool = True
) -> tuple[slice, Bound]:
    """The pass that `sizes[anchor]` belongs to when all are cut into passes, the largest first.

    `sizes` ascend where rows are padded. A pass has at most `rows`, is padded to at most `budget`, and at
    most `waste` of it (a share) is padding; one row always fits. Where nothing `pads`, its rows' sizes count
    as they are. Cutting all of them leaves no scattered rest behind.
    """
    high = len(sizes)
    while True:
        low, bound = _reach(sizes, high, rows=rows, budget=budget, waste=waste, pads=pads)
        if low <= anchor:
            return slice(low, high), bound
        high = low


def _reach(
    sizes: Sequence[int], high: int, *, rows: int, budget: int, waste: float, pads: bool
) -> tuple[int, Bound]:
    """Where the pass begins whose largest row is `sizes[high - 1]`, and what kept the next one out."""
    largest = total = sizes[high - 1]
    low = high - 1
    while low > 0:
        count = high - low + 1
        total += sizes[low - 1]
        extent = count * largest if pads else total
        if count > rows:
            return low, "full"
        if extent > budget:
            return low, "budget"
        if 1 - total / extent > waste:
            return low, "padding"
        low -= 1
    return low, "idle"


def failure_of(error: Exception) -> Failure:
    """Why a pass failed, in one line. PyTorch has a type for lack of memory on accelerators only."""
    from model_types.base import Failure

    message = one_line(error)
    text = message.lower()
    if isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and ("out of memory" in text or "allocate memory" in text)
    ):
        return Failure("out_of_memory", message, traceback_of(error))
    return Failure("model_error", message, traceback_of(error))


def traceback_of(error: BaseException) -> str:
    """An error's traceback as Python prints it, from the first frame on that is none of this package's."""
    frame = error.__traceback__
    while frame is not None and frame.tb_frame.f_code.co_filename.startswith(_HERE):
        frame = frame.tb_next
    return "".join(traceback.format_exception(type(error), error, frame))


def one_line(error: BaseException) -> str:
    """An error's type and message without line breaks."""
    text = " ".join(str(error).split())[:MESSAGE_CHARACTERS]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def release_cached_memory() -> None:
    """Give back what torch's allocator keeps for itself, where torch is in use."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.accelerator.is_available():
        torch.accelerator.empty_cache()
