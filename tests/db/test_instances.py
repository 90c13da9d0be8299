"""Instances of deployments: no more lanes run one than may, and as many keep one as should."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from msgspec.structs import replace

from db import instances, lanes
from db.leases import Leases, Outcome
from db.pools import deployment_pool
from db.states import Status
from db.submissions import submit
from tests.db.interleaving import Sessions
from tests.db.requests import POOL, VERSIONS, Request

DEPLOYED = deployment_pool(POOL, "d")


def deploy(world: Sessions, name: str = "d", *, version: str = "v1", fewest: int = 0, most: int = 1) -> None:
    """Store a deployment, and its version if need be."""
    world.observer.execute(
        "INSERT INTO models (id, owner, owner_key, name, name_key) VALUES ('m', 'a', 'a', 'm', 'm')"
        " ON CONFLICT DO NOTHING"
    )
    world.observer.execute(
        "INSERT INTO model_versions (id, model_id, label, model_type, engine, path, input_schema, options)"
        " VALUES (%s, 'm', '1', %s, 'e', '-', '{}', '{}') ON CONFLICT DO NOTHING",
        [version, POOL],
    )
    world.observer.execute(
        "INSERT INTO deployments (id, owner, owner_key, name, name_key, version_id, pool, hardware,"
        " min_instances, max_instances) VALUES (%s, 'a', 'a', %s, %s, %s, %s, 'cpu', %s, %s)",
        [name, name, name, version, deployment_pool(POOL, name), fewest, most],
    )


def submit_to(world: Sessions, pool: str, count: int = 1) -> None:
    batch = [replace(Request().submission(), pool=pool) for _ in range(count)]
    world.run(submit(world.intake, batch))


def claim(lane: Leases, *, limit: int = 1) -> int:
    """How many predictions of the deployment this lane gets."""
    return len(lane.claim(DEPLOYED, VERSIONS[0], limit=limit, budget=limit).leases)


def pools(lane: Leases) -> Sequence[str]:
    return [waiting.pool for waiting in lane.waiting(POOL)]


def test_of_two_lanes_that_claim_at_the_same_time_one_gets_the_only_seat(world: Sessions) -> None:
    deploy(world, most=1)
    submit_to(world, DEPLOYED, 4)
    first, second = world.lane("first", slot=0), world.lane("second", slot=1)
    world.open.begin()
    assert claim(Leases(world.open.engine, first.lane)) == 1
    blocked: list[bool] = []

    def commit() -> None:
        blocked.append(True)
        world.open.end(commit=True)

    assert world.beside(lambda: claim(second), when_blocked=commit) == 0
    assert blocked
    assert claim(first) == 1


def test_however_many_lanes_try_no_more_hold_predictions_than_may(world: Sessions) -> None:
    deploy(world, most=2)
    submit_to(world, DEPLOYED, 30)
    crowd = [world.lane(f"lane {number}", slot=number) for number in range(6)]
    with ThreadPoolExecutor(len(crowd)) as threads:
        for _ in range(3):
            list(threads.map(claim, crowd))
    assert world.rows("SELECT count(DISTINCT lane) FROM queue") == [(2,)]
    assert world.rows("SELECT count(*) FROM queue WHERE lane IS NOT NULL") == [(6,)]


def test_a_seat_is_free_again_once_its_lane_has_left_or_died(world: Sessions) -> None:
    deploy(world, most=1)
    submit_to(world, DEPLOYED, 3)
    first, second = world.lane("first", slot=0), world.lane("second", slot=1)
    (lease,) = first.claim(DEPLOYED, VERSIONS[0], limit=1, budget=1).leases
    assert pools(first) == [DEPLOYED]
    assert pools(second) == []
    first.finish([Outcome(lease, Status.SUCCEEDED, output="1")])
    first.leave_seats()
    assert pools(second) == [DEPLOYED]
    assert claim(second) == 1
    assert claim(first) == 0
    lanes.retire(world.engine, second.lane)
    assert claim(first) == 1


def test_a_paused_deployment_waits_and_others_do_not(world: Sessions) -> None:
    deploy(world, most=0)
    deploy(world, "e", most=1)
    for pool in (POOL, DEPLOYED, deployment_pool(POOL, "e")):
        submit_to(world, pool)
    lane = world.lane()
    assert sorted(pools(lane)) == [POOL, deployment_pool(POOL, "e")]
    assert claim(lane) == 0


def test_the_steward_rings_for_a_deployment_only_while_a_lane_may_come(world: Sessions) -> None:
    deploy(world, most=1)
    submit_to(world, DEPLOYED, 2)
    lane = world.lane()
    assert lanes.waiting_pools(world.engine) == [DEPLOYED]
    assert claim(lane) == 1
    assert lanes.waiting_pools(world.engine) == []
    lane.release()
    lane.leave_seats()
    assert lanes.waiting_pools(world.engine) == [DEPLOYED]


def test_a_change_to_fewer_lanes_binds_those_at_work_too(world: Sessions) -> None:
    deploy(world, most=1)
    submit_to(world, DEPLOYED, 2)
    lane = world.lane()
    assert claim(lane) == 1
    world.rows("UPDATE deployments SET max_instances = 0 RETURNING id")
    assert claim(lane) == 0


def test_what_came_too_late_for_a_deployment_that_was_deleted_runs_all_the_same(world: Sessions) -> None:
    submit_to(world, DEPLOYED, 2)
    for slot in range(2):
        lane = world.lane(f"lane {slot}", slot=slot)
        assert pools(lane) == [DEPLOYED]
        assert claim(lane) == 1


def test_lanes_look_into_their_own_types_deployments_only(world: Sessions) -> None:
    neighbours = ["poo", "pool-2", "pool!", "poola", "pool@d", "pool@v7", "pool2@d", "poolz"]
    for pool in neighbours:
        submit_to(world, pool)
    assert sorted(pools(world.lane())) == ["pool@d", "pool@v7"]


def kept(world: Sessions) -> dict[str, list[str]]:
    """Which versions each lane is to keep, once the steward has been there."""
    instances.spread(world.engine)
    return dict(world.rows("SELECT id, kept FROM lanes ORDER BY id"))


def test_as_many_lanes_keep_a_version_as_its_deployments_want_at_most(world: Sessions) -> None:
    for slot in range(4):
        world.lane(f"lane {slot}", slot=slot)
    deploy(world, fewest=1, most=2)
    deploy(world, "twin", fewest=2, most=3)
    deploy(world, "cold", version="v2", fewest=0, most=3)
    assert sorted(kept(world).values()) == [[], [], ["v1"], ["v1"]]
    assert instances.spread(world.engine) == []


def test_lanes_that_hold_a_version_already_are_the_ones_to_keep_it(world: Sessions) -> None:
    for slot in range(3):
        world.lane(f"lane {slot}", slot=slot)
    lanes.beat(world.engine, "lane 1", finished=0, resident=["v1"])
    deploy(world, fewest=1)
    assert kept(world) == {"lane 0": [], "lane 1": ["v1"], "lane 2": []}


def test_when_a_lane_dies_another_one_keeps_what_it_kept(world: Sessions) -> None:
    for slot in range(2):
        world.lane(f"lane {slot}", slot=slot)
    deploy(world, fewest=1)
    (keeper,) = [lane for lane, versions in kept(world).items() if versions]
    lanes.retire(world.engine, keeper)
    assert list(kept(world).values()) == [["v1"]]
    world.rows("UPDATE deployments SET min_instances = 0 RETURNING id")
    assert list(kept(world).values()) == [[]]
