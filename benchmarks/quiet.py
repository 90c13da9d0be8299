"""Rounds in which the machine had its CPUs to itself; of others one learns how busy its neighbours were."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import psutil

T = TypeVar("T")

# So much of its CPU time a round may have lost to the host.
STOLEN_SHARE = 0.005
# For each round that is wanted so many are taken at most.
TRIES = 4


@dataclass(frozen=True, slots=True)
class Rounds(Generic[T]):
    """The `results` that count, of which one lost `stolen` of its CPU time at most; `left_out` lost more."""

    results: Sequence[T]
    left_out: int
    stolen: float

    def __str__(self) -> str:
        """What a reader of the results has to know: nothing, as a rule."""
        left_out = f"{self.left_out} left out" if self.left_out else ""
        stolen = f"{self.stolen:.1%} of the CPU time stolen" if self.stolen > STOLEN_SHARE else ""
        return ", ".join(filter(None, (left_out, stolen)))


def stolen_seconds() -> float:
    """CPU time that a virtual machine wanted and did not get, since it started; only Linux counts it."""
    return float(getattr(psutil.cpu_times(), "steal", 0.0))


def quiet_rounds(
    measure: Callable[[], T], count: int, *, stolen: Callable[[], float] = stolen_seconds
) -> Rounds[T]:
    """Measure until `count` rounds were not disturbed, or all tries are used up: then the least disturbed."""
    taken: list[tuple[float, T]] = []
    while sum(share <= STOLEN_SHARE for share, _ in taken) < count and len(taken) < TRIES * count:
        began, before = time.monotonic(), stolen()
        result = measure()
        available_seconds = (time.monotonic() - began) * (psutil.cpu_count() or 1)
        taken.append(((stolen() - before) / available_seconds, result))
    counted = sorted(taken, key=lambda round_: max(round_[0], STOLEN_SHARE))[:count]
    return Rounds(
        [result for _, result in counted],
        left_out=len(taken) - len(counted),
        stolen=max((share for share, _ in counted), default=0.0),
    )
