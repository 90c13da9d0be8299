"""PostgreSQL goes away and comes back: what was promised is kept, and nothing is promised meanwhile."""

from __future__ import annotations

import time

import httpx
import pytest

from cli.postgres import EmbeddedPostgres
from tests.faults.scene import Scene

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

PROCESSES = ("gateway", "steward", "worker1")


def assert_told_to_come_back(refused: list[httpx.Response]) -> None:
    assert {response.status_code for response in refused} <= {503}
    assert all(int(response.headers["Retry-After"]) >= 1 for response in refused)
    assert all(response.headers["content-type"] == "application/problem+json" for response in refused)


def test_a_restart_under_load_breaks_no_promise_and_needs_no_other_restart(
    scene_with_own_postgres: Scene, own_postgres: EmbeddedPostgres
) -> None:
    scene = scene_with_own_postgres
    scene.start(lanes=2)
    before = [scene.stack.pid(name) for name in PROCESSES]
    with scene.submissions_under_way(sleep=0.05):
        for _ in range(2):
            time.sleep(2)
            own_postgres.restart("immediate")
        time.sleep(2)
    assert_told_to_come_back(scene.answers.refused)
    assert scene.answers.unanswered == 0
    assert len(scene.answers.accepted) > 50
    scene.wait_until_ended(*scene.submit(), timeout_seconds=30)
    scene.wait_until_ended(timeout_seconds=60)
    assert [scene.stack.pid(name) for name in PROCESSES] == before
    records = scene.audit()
    assert {record.status for record in records.values()} == {"succeeded"}


def test_without_a_database_clients_are_told_at_once_to_come_back(
    scene_with_own_postgres: Scene, own_postgres: EmbeddedPostgres
) -> None:
    scene = scene_with_own_postgres
    scene.start()
    scene.wait_until_ended(*scene.submit())
    own_postgres.stop()
    for _ in range(5):
        started = time.monotonic()
        response = scene.post()
        assert time.monotonic() - started < 1
        assert response is not None
        assert response.status_code == 503
    assert_told_to_come_back(scene.answers.refused)
    own_postgres.start()
    scene.wait_until_ended(*scene.submit_when_back())
    assert {record.status for record in scene.audit().values()} == {"succeeded"}
