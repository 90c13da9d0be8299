"""Whose turn it is: fair between owners, urgent before patient, in batches that fit."""

from __future__ import annotations

import msgspec

from db.leases import Leases, Outcome
from db.states import Priority, Status
from db.tables.queue_entry import PRIORITY_STEP
from tests.db.interleaving import Sessions
from tests.db.requests import POOL, VERSIONS, Request

ANN, BOB = Request(owner="ann"), Request(owner="bob")


def claim(lane: Leases, *, limit: int = 1, budget: int = 1_000_000, version: str = VERSIONS[0]) -> list[str]:
    return [lease.id for lease in lane.claim(POOL, version, limit=limit, budget=budget).leases]


def owners(world: Sessions, ids: list[str]) -> list[str]:
    found = dict(world.rows("SELECT id, owner_id FROM predictions WHERE id = ANY(%s)", ids))
    return [found[identifier] for identifier in ids]


def test_a_tenants_thousand_do_not_delay_another_ones_first(world: Sessions) -> None:
    lane = world.lane()
    world.submit(*[ANN] * 1000)
    (late_comer,) = world.submit(BOB)
    assert late_comer in claim(lane, limit=2)


def test_two_tenants_with_a_backlog_take_turns(world: Sessions) -> None:
    lane = world.lane()
    world.submit(*[ANN] * 40)
    world.submit(*[BOB] * 40)
    for turn in range(10):
        assert sorted(owners(world, claim(lane, limit=4))) == ["ann", "ann", "bob", "bob"], turn


def test_a_tenant_who_was_away_gets_no_credit_for_it(world: Sessions) -> None:
    """Who comes back after others were served starts now, and does not catch up with the past."""
    lane = world.lane()
    world.submit(*[ANN] * 100)
    claim(lane, limit=50)
    world.submit(*[BOB] * 20)
    assert sorted(owners(world, claim(lane, limit=20))).count("bob") in (10, 11)


def test_one_owners_predictions_run_in_the_order_in_which_they_came(world: Sessions) -> None:
    lane = world.lane()
    ids = world.submit(*[ANN] * 5) + world.submit(*[ANN] * 5)
    assert claim(lane, limit=10) == ids


def test_the_urgent_ones_go_first(world: Sessions) -> None:
    lane = world.lane()
    patient, flexible, urgent = (
        world.submit(*[Request(owner="ann", priority=priority)] * 3) for priority in reversed(Priority)
    )
    assert claim(lane, limit=9) == urgent + flexible + patient


def test_patient_ones_that_come_late_go_last_all_the_same(world: Sessions) -> None:
    lane = world.lane()
    world.rows("UPDATE pool_clocks SET virtual_time = %s RETURNING pool", 10 * PRIORITY_STEP)
    patient = world.submit(*[Request(priority=Priority.BATCH)] * 3)
    urgent = world.submit(*[BOB] * 3)
    assert claim(lane, limit=6) == urgent + patient


def test_an_owners_ten_thousand_patient_ones_do_not_delay_their_own_next_urgent_one(world: Sessions) -> None:
    lane = world.lane()
    world.submit(*[Request(priority=Priority.BATCH)] * 10_000)
    world.submit(*[BOB] * 3)
    (urgent,) = world.submit(ANN)
    assert urgent in claim(lane, limit=2)
    claim(lane, limit=500)
    (later,) = world.submit(ANN)
    assert claim(lane, limit=1) == [later]


def test_patient_ones_of_two_tenants_take_turns_however_long_the_first_have_waited(world: Sessions) -> None:
    lane = world.lane()
    patience = Priority.BATCH
    world.submit(*[Request(owner="ann", priority=patience)] * 200)
    for _ in range(50):
        world.submit(Request(owner="cy"))
        claim(lane, limit=1)
    world.submit(*[Request(owner="bob", priority=patience)] * 20)
    for turn in range(5):
        assert sorted(owners(world, claim(lane, limit=4))) == ["ann", "ann", "bob", "bob"], turn


def test_the_patient_ones_have_their_turn_once_enough_urgent_work_was_done(world: Sessions) -> None:
    """A step of priority is worth PRIORITY_STEP units of work: that is how the patient ones age."""
    lane = world.lane()
    (patient,) = world.submit(Request(owner="ann", priority=Priority.FLEX))
    world.rows("UPDATE pool_clocks SET virtual_time = %s RETURNING pool", PRIORITY_STEP - 2.5)
    urgent = world.submit(*[BOB] * 5)
    assert claim(lane, limit=6) == [*urgent[:3], patient, *urgent[3:]]


def test_batch_work_and_other_work_share_no_batch_where_they_are_asked_for_apart(world: Sessions) -> None:
    lane = world.lane()
    patient = world.submit(*[Request(priority=Priority.BATCH)] * 3)
    urgent = world.submit(BOB, Request(owner="bob", priority=Priority.FLEX))
    others = lane.claim(POOL, VERSIONS[0], limit=9, budget=9, backfill=False)
    assert ([lease.id for lease in others.leases], others.more) == (urgent, True)
    assert not any(lease.backfill for lease in others.leases)
    lane.give_back(others.leases)
    # What goes before them is not passed over either: it is for the lane to look whose turn it is.
    batch = lane.claim(POOL, VERSIONS[0], limit=4, budget=9, backfill=True)
    assert ([lease.id for lease in batch.leases], batch.more) == (patient, True)
    assert all(lease.backfill for lease in batch.leases)


def test_batch_work_has_aged_when_nothing_that_comes_now_could_go_before_it(world: Sessions) -> None:
    lane = world.lane()
    world.submit(Request(priority=Priority.BATCH))
    (waiting,) = lane.waiting(POOL)
    assert (waiting.is_backfill, waiting.has_aged) == (True, False)
    world.rows("UPDATE pool_clocks SET virtual_time = %s RETURNING pool", 2 * PRIORITY_STEP)
    assert lane.waiting(POOL)[0].has_aged


def test_a_batch_stops_at_the_budget_but_never_comes_empty(world: Sessions) -> None:
    lane = world.lane()
    ids = world.submit(*[Request(cost=cost) for cost in (90, 4, 5, 2)])
    first = lane.claim(POOL, VERSIONS[0], limit=10, budget=10)
    assert ([lease.id for lease in first.leases], first.more) == ([ids[0]], True)
    second = lane.claim(POOL, VERSIONS[0], limit=10, budget=10)
    assert ([lease.id for lease in second.leases], second.more) == ([ids[1], ids[2]], True)
    third = lane.claim(POOL, VERSIONS[0], limit=10, budget=10)
    assert ([lease.id for lease in third.leases], third.more) == ([ids[3]], False)


def test_a_batch_stops_at_the_limit_and_says_whether_more_wait(world: Sessions) -> None:
    lane = world.lane()
    ids = world.submit(*[ANN] * 5)
    first = lane.claim(POOL, VERSIONS[0], limit=3, budget=100)
    assert ([lease.id for lease in first.leases], first.more) == (ids[:3], True)
    second = lane.claim(POOL, VERSIONS[0], limit=3, budget=100)
    assert ([lease.id for lease in second.leases], second.more) == (ids[3:], False)


def test_a_batch_is_of_one_version_and_of_one_pool(world: Sessions) -> None:
    lane = world.lane()
    ids = world.submit(*[Request(version=version) for version in ("v1", "v2", "v1")])
    assert claim(lane, limit=9, version="v2") == [ids[1]]
    assert lane.claim("another", "v1", limit=9, budget=9).leases == []
    assert claim(lane, limit=9, version="v1") == [ids[0], ids[2]]


def test_waiting_versions_are_named_best_rank_first_and_busy_ones_not_at_all(world: Sessions) -> None:
    lane = world.lane()
    world.submit(*[Request(version=version) for version in ("v3", "v1", "v2")])
    assert [waiting.version_id for waiting in lane.waiting(POOL)] == ["v3", "v1", "v2"]
    claim(lane, version="v3")
    waiting = lane.waiting(POOL)
    assert [version.version_id for version in waiting] == ["v1", "v2"]
    assert all(0 <= version.waited_seconds < 60 for version in waiting)


def test_what_goes_back_keeps_its_place(world: Sessions) -> None:
    lane = world.lane()
    ids = world.submit(*[ANN] * 3)
    leases = lane.claim(POOL, VERSIONS[0], limit=2, budget=9).leases
    lane.give_back(leases)
    assert claim(lane, limit=3) == ids


def test_a_finished_one_leaves_the_queue_and_keeps_its_output(world: Sessions) -> None:
    lane = world.lane()
    (identifier,) = world.submit(ANN)
    (lease,) = lane.claim(POOL, VERSIONS[0], limit=1, budget=1).leases
    metrics: dict[str, float | str] = {"output_token_count": 2, "finish_reason": "stop"}
    outcome = Outcome(lease, Status.SUCCEEDED, output='{"said": "déjà vu"}', metrics=metrics)
    (ended,) = lane.finish([outcome])
    assert (ended.id, ended.status) == (identifier, "succeeded")
    assert ended.output is not None
    assert msgspec.json.decode(ended.output) == {"said": "déjà vu"}
    assert world.rows("SELECT output FROM predictions") == [({"said": "déjà vu"},)]
    assert ended.metrics == metrics
    assert ended.started_at is not None
    assert ended.started_at <= ended.completed_at
    assert world.rows("SELECT count(*) FROM queue") == [(0,)]
