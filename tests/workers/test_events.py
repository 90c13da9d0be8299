"""Flower's view: each prediction is a task with its model, state, runtime and worker."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from cli.embedded import free_port
from cli.processes import Service
from tests.stack import Stack, wait_until


@pytest.fixture
def observed(make_stack: Callable[..., Stack]) -> Stack:
    """A stack whose workers tell monitors of predictions."""
    augury = make_stack(environment={"TASK_EVENTS": "1"})
    augury.start()
    return augury


@pytest.fixture
def flower(observed: Stack) -> Iterator[httpx.Client]:
    """A real Flower beside it, behind basic auth, which has seen the worker."""
    port = free_port()
    command = [sys.executable, "-m", "celery", "-A", "workers.app", "flower", "--address=127.0.0.1"]
    command += [f"--port={port}", "--basic-auth=operator:secret"]
    service = Service("flower", command, observed.environment, observed.log("flower"))
    service.start()
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", auth=("operator", "secret")) as client:
        wait_until(lambda: _sees_the_worker(client), what="Flower's view of the worker")
        yield client
    service.stop()


def _sees_the_worker(client: httpx.Client) -> bool:
    try:
        return "worker1@" in client.get("/api/workers", params={"status": "1"}).text
    except httpx.TransportError:
        return False


def _task(flower: httpx.Client, prediction_id: str, word: str) -> dict[str, Any]:
    def shown() -> dict[str, Any] | None:
        answer = flower.get(f"/api/task/info/{prediction_id}")
        return answer.json() if answer.is_success and answer.json()["state"] == word else None

    wait_until(lambda: shown() is not None, 15, f"{prediction_id} in Flower as {word}")
    return shown() or {}


@pytest.mark.slow
def test_flower_shows_each_prediction_with_model_state_runtime_and_worker(
    observed: Stack, flower: httpx.Client
) -> None:
    echo = observed.add_echo()
    with observed.client() as client:
        good = client.predict(echo, {"text": "hello", "sleep": 0.2}, wait_seconds=30)
        bad = client.predict(echo, {"text": "hello", "fail": "no such word"}, wait_seconds=30)
    told, failed = _task(flower, good["id"], "SUCCESS"), _task(flower, bad["id"], "FAILURE")
    assert told["name"] == echo
    assert told["runtime"] >= 0.2
    assert told["worker"].startswith("worker1@")
    assert good["version"] in told["kwargs"]
    assert "no such word" in failed["exception"]
