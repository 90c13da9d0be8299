"""What the load scripts share: a closed loop of requests to any server with OpenAI's API, and its figures."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import ceil
from pathlib import Path
from typing import Any

import click
import httpx
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

PERCENTILES = (50, 90, 95, 99, 100)

option = partial(click.option, show_default=True, show_envvar=True)
"""An option whose help also tells its default and the variable that may stand for it."""


class NotServed(click.ClickException):
    """The first request, which only warms up, came to nothing: the message says why."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What one answer held: so much of what the script counts.

    `first_at` is when its first piece was read, by `time.perf_counter`, where it came in pieces.
    """

    amount: float
    first_at: float | None = None


Ask = Callable[[httpx.AsyncClient, str], Awaitable[Reply]]
"""Sends one request for a model and reads its answer. Raises `httpx.HTTPError`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What is asked of a server: `n_requests` for each model in turn, `concurrency` of them at a time."""

    base_url: str
    token: str | None
    models: Sequence[str]
    n_requests: int
    concurrency: int
    timeout_seconds: float
    plot: Path | None


@dataclass(frozen=True, slots=True)
class Sample:
    """One request that was served; `started_seconds` counts from the beginning of its run."""

    started_seconds: float
    latency_ms: float
    amount: float
    first_ms: float | None


@dataclass(slots=True)
class Run:
    """All requests for one model: those that were served, and why the others were not."""

    model: str
    samples: list[Sample] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    elapsed_seconds: float = 0.0

    @property
    def latencies_ms(self) -> list[float]:
        return [sample.latency_ms for sample in self.samples]

    @property
    def firsts_ms(self) -> list[float]:
        return [sample.first_ms for sample in self.samples if sample.first_ms is not None]


def percentile(values: Iterable[float], percent: float) -> float:
    """The least of the values that so many percent of them do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, ceil(len(ordered) * percent / 100) - 1)]


def _names(context: click.Context, _: click.Parameter, value: str) -> list[str]:
    names = [name.strip() for name in value.split(",") if name.strip()]
    if not names:
        raise click.BadParameter("names no model")
    return names


def _base(context: click.Context, _: click.Parameter, value: str) -> str:
    """The server's root, also from the base URL that OpenAI's clients are given."""
    return value.rstrip("/").removesuffix("/v1")


_OPTIONS = (
    option(
        "--base-url",
        "--url",
        "base_url",
        envvar=["BASE_URL", "AUGURY_URL"],
        default="http://127.0.0.1:8000",
        callback=_base,
        help="The server.",
    ),
    option("--token", envvar=["AUGURY_TOKEN", "OPENAI_API_KEY"], help="A token of it, if it wants one."),
    option(
        "--models",
        "--model-name",
        "models",
        envvar=["MODELS", "MODEL_NAME"],
        required=True,
        callback=_names,
        help="A model, or several with commas between them, each of which has a run of its own.",
    ),
    option("--n-requests", envvar="N_REQUESTS", type=click.IntRange(1), default=50),
    option("--concurrency", envvar="CONCURRENCY", type=click.IntRange(1), default=8),
    option(
        "--timeout",
        "timeout_seconds",
        envvar="TIMEOUT",
        type=click.FloatRange(0, min_open=True),
        default=120.0,
        help="Seconds that a request may take.",
    ),
    option(
        "--plot",
        envvar="PLOT",
        type=click.Path(dir_okay=False, writable=True, path_type=Path),
        help="Draw the latencies into this file (PNG, or SVG or PDF by its name).",
    ),
)


def options(command: Callable[..., None]) -> Callable[..., None]:
    """The options of all load scripts, which make a `Trial`; each may come from the environment instead."""
    for decorate in reversed(_OPTIONS):
        command = decorate(command)
    return command


class Script(click.Command):
    """A command that takes its options also after a lone `--`, which some runners of scripts need."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, args[1:] if args[:1] == ["--"] else args)


def conduct(trial: Trial, ask: Ask, *, unit: str) -> None:
    """Make the trial and print its figures; `unit` is what `ask` counts. Exits with 1 where requests failed.

    Raises `NotServed`.
    """
    runs = asyncio.run(_runs(trial, ask))
    Console().print(summary(runs, unit))
    if trial.plot is not None and any(run.samples for run in runs):
        from benchmarks.charts import draw  # matplotlib: only who wants a chart waits for it

        draw(runs, trial.plot)
    if any(run.failures for run in runs):
        raise SystemExit(1)


async def _runs(trial: Trial, ask: Ask) -> list[Run]:
    headers = {"Authorization": f"Bearer {trial.token}"} if trial.token else {}
    limits = httpx.Limits(max_connections=trial.concurrency)
    async with httpx.AsyncClient(
        base_url=trial.base_url, headers=headers, timeout=trial.timeout_seconds, limits=limits
    ) as http:
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
        with Progress(*columns, console=Console(stderr=True)) as progress:
            return [await _run(trial, model, ask, http, progress) for model in trial.models]


async def _run(trial: Trial, model: str, ask: Ask, http: httpx.AsyncClient, progress: Progress) -> Run:
    bar = progress.add_task(model, total=trial.n_requests)
    try:
        await ask(http, model)
    except httpx.HTTPError as error:
        raise NotServed(f"{model}: {_told(error)}") from None
    run = Run(model)
    began_at = time.perf_counter()
    waiting = iter(range(trial.n_requests))

    async def work() -> None:
        for _ in waiting:
            await _sample(run, ask, http, began_at)
            progress.advance(bar)

    await asyncio.gather(*(work() for _ in range(trial.concurrency)))
    run.elapsed_seconds = time.perf_counter() - began_at
    return run


async def _sample(run: Run, ask: Ask, http: httpx.AsyncClient, began_at: float) -> None:
    sent_at = time.perf_counter()
    try:
        reply = await ask(http, run.model)
    except httpx.HTTPError as error:
        run.failures[_named(error)] += 1
        return
    latency_ms = (time.perf_counter() - sent_at) * 1000
    first_ms = None if reply.first_at is None else (reply.first_at - sent_at) * 1000
    run.samples.append(Sample(sent_at - began_at, latency_ms, reply.amount, first_ms))


def _named(error: httpx.HTTPError) -> str:
    """What went wrong, in a word or two that others share."""
    if isinstance(error, httpx.HTTPStatusError):
        return f"{error.response.status_code} {error.response.reason_phrase}"
    return type(error).__name__


def _told(error: httpx.HTTPError) -> str:
    """What went wrong, and what the server says of it."""
    said = error.response.text[:500] if isinstance(error, httpx.HTTPStatusError) else str(error)
    return f"{_named(error)}: {said}"


async def post(http: httpx.AsyncClient, path: str, **content: Any) -> Any:
    """The JSON that answers a POST. Raises `httpx.HTTPError`."""
    response = await http.post(path, **content)
    response.raise_for_status()
    return response.json()


def summary(runs: Sequence[Run], unit: str) -> Table:
    """The figures of all runs, one beside the other."""
    table = Table("", *(run.model for run in runs))
    columns = [_figures(run, unit) for run in runs]
    for name in dict.fromkeys(name for column in columns for name in column):
        table.add_row(name, *(column.get(name, "") for column in columns))
    return table


def _figures(run: Run, unit: str) -> dict[str, str]:
    seconds = run.elapsed_seconds
    figures = {"requests served": str(len(run.samples))}
    figures |= {f"failed: {reason}": str(count) for reason, count in run.failures.most_common()}
    figures["seconds"] = f"{seconds:.2f}"
    if run.samples:
        figures["requests/s"] = f"{len(run.samples) / seconds:.2f}"
        figures[f"{unit}/s"] = f"{sum(sample.amount for sample in run.samples) / seconds:.2f}"
    for name, values in (("latency", run.latencies_ms), ("first piece", run.firsts_ms)):
        if values:
            figures |= {f"{name}, p{p}, ms": f"{percentile(values, p):.1f}" for p in PERCENTILES}
    return figures
