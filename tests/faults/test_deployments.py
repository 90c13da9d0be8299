"""Deployments on real lanes: never on more than they may run on, and kept where they should be."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from tests.faults.scene import Scene
from tests.stack import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

COUNT = 8


@contextmanager
def administrator(scene: Scene) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {scene.stack.token()}"}
    with httpx.Client(base_url=scene.stack.url, headers=headers, trust_env=False) as http:
        yield http


def deploy(http: httpx.Client, **configuration: Any) -> str:
    """Deploy the scene's model; the URL at which it is asked."""
    version = http.get("/v1/models/test/echo").json()["latest_version"]["id"]
    body = {"name": "mine", "model": "test/echo", "version": version, "hardware": "cpu", **configuration}
    made = http.post("/v1/deployments", json=body)
    assert made.is_success, made.text
    return f"/v1/deployments/{made.json()['owner']}/mine"


def lanes_at_work(scene: Scene) -> tuple[int, int]:
    """How many lanes hold predictions of the deployment, and how many hold any."""
    query = "SELECT count(DISTINCT lane) FILTER (WHERE pool <> 'echo'), count(DISTINCT lane) FROM queue"
    ((deployed, any_at_all),) = scene.rows(query)
    return deployed, any_at_all


def keepers(scene: Scene) -> list[int]:
    """The processes of the lanes that keep the version of a deployment, and have loaded it."""
    rows = scene.rows("SELECT pid FROM lanes WHERE kept <> '{}' AND kept <@ resident")
    return [pid for (pid,) in rows]


def test_a_deployment_keeps_to_its_one_lane_and_moves_on_when_that_dies(scene: Scene) -> None:
    scene.start(lanes=2, options={"max_batch": 1})
    seen = set()
    with administrator(scene) as http:
        url = deploy(http, min_instances=1, max_instances=1)
        wait_until(lambda: len(keepers(scene)) == 1, 20, "a lane that keeps it loaded")
        for number in range(COUNT):
            body = {"input": {"text": f"deployed {number}", "sleep": 0.2}, "stream": False}
            scene.answers.accepted.append(http.post(f"{url}/predictions", json=body).json()["id"])
        scene.submit(COUNT, sleep=0.2)

        def both_at_work() -> bool:
            seen.add(lanes_at_work(scene))
            return (1, 2) in seen

        def nothing_waits() -> bool:
            seen.add(lanes_at_work(scene))
            return scene.rows("SELECT count(*) FROM queue") == [(0,)]

        wait_until(both_at_work, 20, "the deployment's lane and another one at work")
        (keeper,) = keepers(scene)
        os.kill(keeper, signal.SIGKILL)
        wait_until(nothing_waits, 40, "the end of all predictions")
        wait_until(lambda: bool(set(keepers(scene)) - {keeper}), 20, "another lane that keeps it loaded")
        assert http.delete(url).status_code == httpx.codes.NO_CONTENT
    assert max(deployed for deployed, _ in seen) == 1
    assert {record.status for record in scene.audit().values()} == {"succeeded"}
