"""A chart of latencies: how they are spread, and how they went in the course of the run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from benchmarks.trials import Run


def draw(runs: Sequence[Run], path: Path) -> None:
    """Draw the runs that have samples into a file, whose suffix says in which format (PNG without one)."""
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    spread, course = figure.subplots(1, 2)
    for run in runs:
        if run.samples:
            spread.ecdf(run.latencies_ms, label=run.model)
            course.plot([one.started_seconds for one in run.samples], run.latencies_ms, ".", label=run.model)
    spread.set(xlabel="latency, ms", ylabel="share of requests", title="Within how long")
    course.set(xlabel="sent after, s", ylabel="latency, ms", title="In the course of the run")
    for axes in (spread, course):
        axes.grid(alpha=0.3)
        axes.set_xlim(left=0)
    course.set_ylim(bottom=0)
    spread.legend(loc="lower right")
    figure.savefig(path, dpi=120)
