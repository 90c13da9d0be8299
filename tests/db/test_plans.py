"""What claims cost PostgreSQL: index scans over a long queue, and updates that touch no index."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from sqlalchemy import text

from db import leases, outbox, partials, waiting
from db.leases import Leases, Outcome
from db.states import Priority, Status
from db.submissions import SUBMIT
from tests.db.interleaving import Sessions
from tests.db.requests import POOL, VERSIONS, Request

pytestmark = pytest.mark.own_database

WAITING = 20_000


@pytest.fixture
def long_queue(world: Sessions) -> Sessions:
    """Twenty thousand predictions of twenty versions wait."""
    world.observer.execute(
        "INSERT INTO queue (id, pool, version_id, owner_id, rank)"
        " SELECT lpad(n::text, 26, '0'), %s, 'v' || n %% 20, 'ann', n FROM generate_series(1, %s) n",
        [POOL, WAITING],
    )
    world.observer.execute("ANALYZE queue")
    return world


def plan_of(world: Sessions, statement: str, parameters: dict[str, Any], mode: str) -> dict[str, Any]:
    with world.engine.connect() as connection:
        connection.exec_driver_sql(f"SET plan_cache_mode = {mode}")
        explained = connection.execute(text(f"EXPLAIN (FORMAT JSON) {statement}"), parameters)
        plan: dict[str, Any] = explained.scalar_one()[0]["Plan"]
        return plan


def scans(plan: dict[str, Any], table: str) -> Iterator[tuple[str, str | None]]:
    """How a plan reads a table: (kind of scan, index)."""
    if plan.get("Relation Name") == table and "Scan" in plan["Node Type"]:
        yield plan["Node Type"], plan.get("Index Name")
    for child in plan.get("Plans", []):
        yield from scans(child, table)


WAITING_IN = {"pool": POOL, "first": f"{POOL}@", "last": f"{POOL}@~", "lane": "l"}
CLAIM = {"lane": "l", "pool": POOL, "version": "v1", "limit": 32, "budget": 100, "step": 1.0}
CLAIM |= {"urgent": Priority.DEFAULT.value, "patient": Priority.FLEX.value}
OUTCOME = {"id": "0", "lane": "l", "attempt": 1, "status": "failed", "error": "e", "failure": "f"}
NOTE_PROGRESS = {"ids": ["0"] * 8, "lanes": ["l"] * 8, "attempts": [1] * 8, "shares": [0.5] * 8}
STARTED = {"ids": ["0"] * 8}
NEWS = {"ids": ["0"] * 8, "attempts": [1] * 8, "events": ["output"] * 8}
PARTIAL = {"id": "0", "lane": "l", "attempt": 1, "output": "1", "logs": ""}
PARTIALS = {"partials": json.dumps([PARTIAL] * 8)}
FINISH = {"outcomes": json.dumps([OUTCOME] * 8), "lanes": ["l"]}


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize(
    ("statement", "parameters", "index"),
    [
        (waiting.WAITING, WAITING_IN, "ix_queue_order"),
        (leases._CLAIM, CLAIM, "ix_queue_order"),
        (leases._FINISH, FINISH, "pk_queue"),
        (leases._NOTE_PROGRESS, NOTE_PROGRESS, "pk_queue"),
        (partials._NOTE, PARTIALS, "pk_queue"),
        (outbox._START, STARTED, "pk_queue"),
        (outbox._PARTIAL, NEWS, "pk_queue"),
    ],
    ids=["waiting", "claim", "finish", "progress", "partials", "started", "news"],
)
def test_lanes_read_a_long_queue_by_its_indexes_only(
    long_queue: Sessions, statement: Any, parameters: dict[str, Any], index: str, mode: str
) -> None:
    found = set(scans(plan_of(long_queue, statement.text, parameters, mode), "queue"))
    assert found
    assert {kind for kind, _ in found} <= {"Index Scan", "Index Only Scan"}
    assert index in {name for _, name in found}


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
def test_submissions_find_the_first_patient_one_of_a_long_queue_by_an_index(
    long_queue: Sessions, mode: str
) -> None:
    world = long_queue
    world.observer.execute("UPDATE queue SET priority = 2 WHERE rank > %s", [WAITING / 2])
    world.observer.execute("ANALYZE queue")
    world.observer.execute(f"SET plan_cache_mode = {mode}")
    patient = [Request(priority=Priority.BATCH).submission()] * 8
    submitted = msgspec.json.encode(patient).decode()
    (explained,) = world.rows(f"EXPLAIN (FORMAT JSON) {SUBMIT}", submitted)
    assert set(scans(explained[0][0]["Plan"], "queue")) == {("Index Scan", "ix_queue_patient")}


def hot_updates(world: Sessions, *, of: int) -> int:
    """How many rows of the queue were updated without touching an index, of so many that were at all."""
    world.engine.dispose()  # its backends tell what they have counted when they end
    query = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'queue'"
    give_up_at = time.monotonic() + 10
    while (counted := world.rows(query)[0])[0] < of and time.monotonic() < give_up_at:
        time.sleep(0.05)
    assert counted[0] == of
    return int(counted[1])


def run_all(lane: Leases, *, batch: int) -> None:
    while claimed := lane.claim(POOL, VERSIONS[0], limit=batch, budget=batch).leases:
        lane.finish([Outcome(lease, Status.SUCCEEDED, output="1") for lease in claimed])


@pytest.mark.slow
def test_claims_are_hot_updates(world: Sessions) -> None:
    """So no index mentions a column that a claim writes, and the queue's pages have room for it."""
    lane = world.lane()
    world.submit(*[Request()] * 400)
    run_all(lane, batch=20)
    assert hot_updates(world, of=400) >= 0.95 * 400
