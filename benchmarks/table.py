"""Results as one table: a figure, the base beside it, their ratio, and whether that meets its target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from rich import box
from rich.table import Table

HEADINGS = ("benchmark", "figure", "base", "ratio", "rounds", "target", "met")


@dataclass(frozen=True, slots=True)
class Target:
    """What the ratio, or the figure where there is no base, should come to: at least or at most that."""

    bound: float
    at_least: bool

    def is_met(self, value: float) -> bool:
        return value >= self.bound if self.at_least else value <= self.bound

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.bound:g}"


def at_least(bound: float) -> Target:
    return Target(bound, at_least=True)


def at_most(bound: float) -> Target:
    return Target(bound, at_least=False)


@dataclass(frozen=True, slots=True)
class Row:
    """One result, medians of interleaved rounds.

    `figures` and `bases` hold one number per round, in the order of the rounds, in the same `unit`. The
    `note` is shown beside their spread.
    """

    name: str
    unit: str
    figures: Sequence[float]
    base: str = ""
    bases: Sequence[float] = ()
    target: Target | None = None
    note: str = ""

    @property
    def figure(self) -> float:
        return median(self.figures)

    @property
    def ratio(self) -> float | None:
        """The figures' median ÷ the bases' median; None without a base."""
        return self.figure / median(self.bases) if self.bases else None

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None where there is none."""
        if self.target is None:
            return None
        return self.target.is_met(self.figure if self.ratio is None else self.ratio)

    def cells(self) -> tuple[str, ...]:
        """The row's texts, in the order of `HEADINGS`."""
        base = f"{_number(median(self.bases))} {self.unit}, {self.base}" if self.bases else ""
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}"
        target = "" if self.target is None else str(self.target)
        met = {None: "", True: "yes", False: "no"}[self.met]
        return (self.name, f"{_number(self.figure)} {self.unit}", base, ratio, self._spread(), target, met)

    def _spread(self) -> str:
        """The lowest and the highest round: of the ratio, or of the figure where there is no base."""
        values = (
            [f / b for f, b in zip(self.figures, self.bases, strict=True)] if self.bases else self.figures
        )
        digits = _number if not self.bases else "{:.2f}".format
        spread = f"{digits(min(values))} … {digits(max(values))}" if len(values) > 1 else ""
        return ", ".join(filter(None, (spread, self.note)))


def _number(value: float) -> str:
    """Three digits are all that a benchmark can vouch for."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def plain(rows: Sequence[Row]) -> Table:
    """The table for a terminal."""
    table = Table(*HEADINGS, box=box.SIMPLE_HEAD)
    for row in rows:
        style = {None: "", True: "green", False: "red"}[row.met]
        table.add_row(*row.cells(), style=style)
    return table


def markdown(rows: Sequence[Row]) -> str:
    """The table for a document."""
    lines = [HEADINGS, tuple("---" for _ in HEADINGS), *(row.cells() for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
