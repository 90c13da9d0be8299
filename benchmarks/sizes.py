"""How much each benchmark does: enough for a steady figure, or just enough to see that it runs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sizes:
    """Rounds, durations and counts of all benchmarks."""

    rounds: int = 5
    round_seconds: float = 4.0
    warm_up_seconds: float = 1.5
    echo_predictions: int = 10_000
    latency_requests: int = 400
    prompts: int = 64
    streams: int = 64
    images: int = 480
    sentences: int = 2_000
    single_sentences: int = 200
    # Short ones and many: a single client's pace changes with the machine's from one to the next.
    single_rounds: int = 9
    sentence_rounds: int = 3
    switching_rounds: int = 3
    switching_predictions: int = 64
    finished_rows: int = 1_000_000
    waiting_rows: int = 100_000
    # Short rounds and many: what a commit costs changes from second to second on a shared disk.
    growth_rounds: int = 25
    growth_requests: int = 60
    backfill_rounds: int = 3
    backfill_seconds: float = 30.0
    backfill_lines: int = 10_000


QUICK = Sizes(
    rounds=1,
    round_seconds=0.3,
    warm_up_seconds=0.1,
    echo_predictions=100,
    latency_requests=10,
    prompts=4,
    streams=4,
    images=32,
    sentences=24,
    single_sentences=4,
    single_rounds=1,
    sentence_rounds=1,
    switching_rounds=1,
    switching_predictions=8,
    finished_rows=2_000,
    waiting_rows=200,
    growth_rounds=1,
    growth_requests=10,
    backfill_rounds=1,
    backfill_seconds=2.0,
    backfill_lines=200,
)
