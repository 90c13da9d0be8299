"""Pools that share a lane take turns."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from db.pools import deployment_pool
from tests.workers.workshop import POOL, Workshop
from workers.turns import Turns

Open = Callable[..., Workshop]

DEPLOYED = deployment_pool(POOL, "d")


def test_a_turn_lasts_until_it_is_passed_on_and_goes_round() -> None:
    turns = Turns()
    taken = []
    for pools in ("ab", "abc", "abc", "abc"):
        taken.append((turns.of(pools), turns.of(reversed(pools))))
        turns.pass_on()
    assert taken == [("a", "a"), ("b", "b"), ("c", "c"), ("a", "a")]


def test_a_turn_ends_when_nothing_waits_any_more() -> None:
    turns = Turns()
    assert [turns.of("ab"), turns.of("b"), turns.of("ab"), turns.of("a")] == ["a", "b", "b", "a"]


@pytest.mark.slow
def test_a_backlog_of_the_public_pool_does_not_hold_up_a_deployment(
    open_workshop: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.claiming.SLICE_SECONDS", 0.2)
    workshop = open_workshop(v={"max_batch": 1}, w={"max_batch": 1}, affinity_seconds=0.0)
    workshop.submit(*(f"public {number}" for number in range(30)), seconds=0.05)
    workshop.submit("deployed", version="w", pool=DEPLOYED)
    for _ in range(2):
        workshop.serve()
    assert workshop.ended()["deployed"][0] == "succeeded"
    assert len(workshop.batches()) < 20
    assert workshop.client.llen(POOL) > 0


@pytest.mark.slow
def test_a_backlog_of_a_deployment_does_not_hold_up_the_public_pool(
    open_workshop: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.claiming.SLICE_SECONDS", 0.2)
    workshop = open_workshop(v={"max_batch": 1}, w={"max_batch": 1}, affinity_seconds=0.0)
    workshop.submit(*(f"deployed {number}" for number in range(30)), seconds=0.05, version="w", pool=DEPLOYED)
    workshop.submit("public")
    for _ in range(2):
        workshop.serve()
    assert workshop.ended()["public"][0] == "succeeded"


def test_a_pool_gets_no_turn_for_a_version_to_be_loaded_while_others_wait_for_loaded_ones(
    open_workshop: Open,
) -> None:
    workshop = open_workshop(v={}, w={})
    workshop.residency.acquire("v")
    workshop.submit("deployed", version="w", pool=DEPLOYED)
    workshop.submit("public")
    workshop.serve()
    assert workshop.batches() == [["public"], ["deployed"]]


def deploy(workshop: Workshop) -> None:
    """Deploy the version `v`, for one lane."""
    for statement in (
        "models (id, owner, owner_key, name, name_key) VALUES ('m', 'a', 'a', 'm', 'm')",
        "model_versions (id, model_id, label, model_type, engine, path, input_schema, options)"
        f" VALUES ('v', 'm', '1', '{POOL}', 'recorder', '-', '{{}}', '{{}}')",
        "deployments (id, owner, owner_key, name, name_key, version_id, pool, hardware, min_instances,"
        f" max_instances) VALUES ('d', 'a', 'a', 'd', 'd', 'v', '{DEPLOYED}', 'cpu', 1, 1)",
    ):
        workshop.rows(f"INSERT INTO {statement} RETURNING 1")


def test_a_deployment_without_a_seat_is_passed_over(open_workshop: Open) -> None:
    workshop = open_workshop(v={"max_batch": 1})
    other = workshop.lane("other", slot=1)
    deploy(workshop)
    workshop.submit("theirs", "ours", pool=DEPLOYED)
    workshop.submit("public")
    (theirs,) = other.claim(DEPLOYED, "v", limit=1, budget=1).leases
    workshop.serve()
    workshop.serve()
    assert workshop.batches() == [["public"]]
    other.give_back([theirs])
    other.leave_seats()
    workshop.serve()
    assert workshop.batches()[1:] == [["theirs"], ["ours"]]
    assert workshop.rows("SELECT seats FROM lanes WHERE id = 'lane'") == [([],)]


def test_what_another_lane_keeps_loaded_is_left_to_it_for_a_while(
    open_workshop: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    workshop = open_workshop(v={})
    deploy(workshop)
    workshop.lane("keeper", slot=1)
    workshop.rows("UPDATE lanes SET kept = '{v}', resident = '{v}' WHERE id = 'keeper' RETURNING 1")
    workshop.submit("deployed", pool=DEPLOYED)
    workshop.serve()
    assert workshop.batches() == []
    monkeypatch.setattr("workers.claiming.KEEPERS_SECONDS", 0.0)
    workshop.serve()
    assert workshop.batches() == [["deployed"]]
