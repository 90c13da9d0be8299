"""All that a batch needs is killed while it runs, one after the other: each request is answered once."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from typing import Any

import httpx
import psycopg
import pytest

from cli.postgres import EmbeddedPostgres
from cli.valkey import EmbeddedValkey
from examples.demo_models import RECITAL
from tests.stack import Stack, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

REQUESTS = 120
ENDPOINT = "/v1/completions"
SETTINGS = {"LEASE_SECONDS": "2", "BATCH_QUEUE_ROWS": "16"}


class Crowd:
    """A batch of many requests, and whoever looks how far it has come."""

    def __init__(self, stack: Stack, database_url: str) -> None:
        self._database_url = database_url
        headers = {"Authorization": f"Bearer {stack.token()}"}
        self._http = httpx.Client(base_url=stack.url, headers=headers, timeout=30, trust_env=False)
        with stack.client() as client:
            named = {
                "owner": "test",
                "name": "recital",
                "model_type": "text-generation",
                "model_path": str(RECITAL),
            }
            client.add_model(named)

    def close(self) -> None:
        self._http.close()

    def begin(self) -> None:
        """Have the requests done."""
        lines = [
            {
                "custom_id": f"request {number}",
                "method": "POST",
                "url": ENDPOINT,
                "body": {"model": "test/recital", "prompt": "Alice was", "max_tokens": 2, "seed": number},
            }
            for number in range(REQUESTS)
        ]
        content = "\n".join(json.dumps(line) for line in lines)
        file = self._http.post("/v1/files", files={"file": content.encode()}, data={"purpose": "batch"})
        asked = {"input_file_id": file.json()["id"], "endpoint": ENDPOINT, "completion_window": "24h"}
        self._http.post("/v1/batches", json=asked).raise_for_status()

    def wait_for(self, completed: int) -> None:
        """Wait until so many requests are done, by the database."""
        wait_until(lambda: self._completed() >= completed, 90, f"{completed} answers")

    def _completed(self) -> int:
        with psycopg.connect(self._database_url) as connection:
            row = connection.execute("SELECT completed, status FROM batches").fetchone()
        assert row is not None
        assert row[1] in ("validating", "in_progress", "finalizing"), "it has not ended yet"
        return int(row[0])

    def ended(self) -> dict[str, Any]:
        """The batch, once it has ended."""
        ended: dict[str, Any] = {}

        def has_ended() -> bool:
            (batch,) = self._http.get("/v1/batches").json()["data"]
            ended.update(batch)
            return batch["status"] not in ("validating", "in_progress", "finalizing")

        wait_until(has_ended, 90, "the batch's end")
        return ended

    def lines_of(self, file_id: str) -> list[dict[str, Any]]:
        content = self._http.get(f"/v1/files/{file_id}/content").raise_for_status().text
        return [json.loads(line) for line in content.splitlines()]


def test_whatever_dies_meanwhile_each_request_of_a_batch_is_answered_once(
    make_stack: Callable[..., Stack], own_postgres: EmbeddedPostgres, own_valkey: EmbeddedValkey
) -> None:
    stack = make_stack(database_url=own_postgres.url, redis_url=own_valkey.url, environment=SETTINGS)
    stack.start(pools=["text-generation"])
    with closing(Crowd(stack, own_postgres.url)) as crowd:
        crowd.begin()
        lines = run_through_faults(stack, crowd, own_postgres, own_valkey)
    assert [line["custom_id"] for line in lines] == [f"request {number}" for number in range(REQUESTS)]
    assert all(line["response"]["body"]["choices"][0]["text"] for line in lines)
    with psycopg.connect(own_postgres.url) as connection:
        made = connection.execute("SELECT count(*), count(DISTINCT id) FROM predictions").fetchone()
        left = connection.execute("SELECT count(*) FROM queue").fetchone()
        files = connection.execute("SELECT count(*) FROM files").fetchone()
    assert (made, left, files) == ((REQUESTS, REQUESTS), (0,), (2,))


def run_through_faults(
    stack: Stack, crowd: Crowd, own_postgres: EmbeddedPostgres, own_valkey: EmbeddedValkey
) -> list[dict[str, Any]]:
    """The lines of the output file, which is the only one."""

    def again(*names: str) -> None:
        for name in names:
            stack.kill(name)
            stack.start_again(name)

    again("gateway")  # while the lines are looked into, or before
    faults: list[Callable[[], None]] = [
        lambda: stack.lanes()[0].kill(),
        lambda: again("gateway", "steward"),
        own_valkey.restart,
        lambda: own_postgres.restart("immediate"),
        lambda: again("worker1"),
    ]
    for number, fault in enumerate(faults, start=1):
        crowd.wait_for(number * REQUESTS // (len(faults) + 2))
        fault()
    crowd.wait_for(REQUESTS - 1)
    again("gateway")  # while the files are written, or before
    stack.wait_until_ready()

    batch = crowd.ended()
    counts = {"total": REQUESTS, "completed": REQUESTS, "failed": 0}
    assert (batch["status"], batch["request_counts"], batch["error_file_id"]) == ("completed", counts, None)
    return crowd.lines_of(batch["output_file_id"])
