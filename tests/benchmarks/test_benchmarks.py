"""Each benchmark runs from end to end at tiny sizes and prints its rows; their figures are not tested."""

from __future__ import annotations

import subprocess
import sys

import pytest

ROWS = {
    "accept": ["accept, c=16"],
    "echo": [
        "echo, accepted → ended",
        "echo, Prefer: wait, c=1, p50",
        "echo, Prefer: wait, c=1, p95",
        "echo, Prefer: wait, c=16, p50",
        "echo, Prefer: wait, c=16, p95",
        "echo, Prefer: wait, c=64",
    ],
    "text": ["text, 4 ragged prompts", "text, 4 ragged prompts"],
    "streaming": [
        "streaming, c=1, first event",
        "streaming, c=1, lane → client",
        "streaming, c=16, first event",
        "streaming, c=16, lane → client",
    ],
    "embeddings": ["embeddings, c=1", "embeddings, c=64", "embeddings, backlog of 24"],
    "vision": ["classification, 32 clients", "object detection, 32 clients"],
    "openai": [
        "openai, embeddings, c=16, p50",
        "openai, embeddings, c=16, added to p50",
        "openai, chat, c=16, p50",
        "openai, chat, c=16, added to p50",
    ],
    "refusal": [
        "refusal, /v1/predictions, rate limit",
        "refusal, /v1/predictions, full queue",
        "refusal, /v1/chat/completions, rate limit",
        "refusal, /v1/chat/completions, full queue",
    ],
    "switching": ["switching, two models in turn, c=16"],
    "backfill": ["backfill, clients that wait, p95", "backfill, lines beside them"],
    "growth": ["growth, submit, p50", "growth, claim, p50", "growth, status, p50"],
}
WITHOUT_BASE = {name for name in ROWS["echo"] if "c=64" not in name} | {
    name for name in ROWS["streaming"] if "lane" in name
}


def benchmarks(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=170, check=False)


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("name", ROWS)
def test_a_quick_run_prints_a_row_for_each_result_with_its_ratio(name: str) -> None:
    run = benchmarks(name, "--quick", "--markdown")

    assert run.returncode == 0, run.stderr
    heading, _, *lines = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in run.stdout.splitlines()
    ]
    assert heading == ["benchmark", "figure", "base", "ratio", "rounds", "target", "met"]
    assert [line[0] for line in lines] == ROWS[name]
    for row, figure, base, ratio, _, target, met in lines:
        # A difference may be negative where so little is measured.
        is_difference = row.endswith("added to p50")
        assert is_difference or float(figure.split()[0].replace(",", "")) > 0
        assert (is_difference or float(ratio) > 0) if base else (row in WITHOUT_BASE and ratio == "")
        assert met in ({"yes", "no"} if target else {""})


@pytest.mark.slow
def test_an_unknown_benchmark_is_named() -> None:
    run = benchmarks("speed")

    assert run.returncode == 2
    assert "there is no benchmark speed" in run.stderr
