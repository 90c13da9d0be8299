"""How many are ahead of a waiting prediction, and when its turn comes."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from api.places import ENOUGH_SECONDS, Place, Places
from db.repositories.backlog import RANKS, BacklogCount, count_backlog
from tests.api.asking import PLACE, add_model, ask, lane_by_hand
from tests.api.conftest import Serve, Served

pytestmark = pytest.mark.anyio


def line(ranks: list[float]) -> BacklogCount:
    """A queue of the pool `p`, as the database samples it."""
    samples = [ranks[-(-n * len(ranks) // RANKS) - 1] for n in range(1, RANKS + 1)] if ranks else []
    return BacklogCount({"p": len(ranks)}, {}, {}, {}, {"p": samples} if ranks else {})


def place(places: Places, rank: float) -> Place:
    found = places.of("p", rank)
    assert found is not None
    return found


def seconds_to_start(places: Places, rank: float) -> float:
    estimate = place(places, rank).estimated_start
    assert estimate is not None
    return (estimate - datetime.now(UTC)).total_seconds()


@pytest.mark.parametrize("waiting", [1, 2, 7, 999, 1000])
def test_in_a_short_queue_places_are_exact(waiting: int) -> None:
    places = Places()
    places.learn(line([float(n) for n in range(waiting)]), 1.0)
    assert [place(places, n).ahead for n in range(waiting + 1)] == list(range(waiting + 1))


def test_in_a_long_queue_places_are_right_to_a_thousandth() -> None:
    places = Places()
    places.learn(line([float(n) for n in range(54_321)]), 1.0)
    for n in (0, 1, 54, 55, 12_345, 54_320, 54_321):
        assert n - 55 <= place(places, n).ahead <= n


def test_the_pace_is_how_fast_those_ahead_are_gone() -> None:
    places = Places()
    ranks = [float(n) for n in range(500)]
    for second in range(4):
        places.learn(line(ranks[second * 20 :]), 100.0 + second)
    assert seconds_to_start(places, 400.0) == pytest.approx((400 - 60) / 20, abs=0.1)


def test_without_a_pace_there_is_a_place_and_no_estimate() -> None:
    places = Places()
    assert places.of("p", 0.0) is None
    for second in (0.0, 1.0, ENOUGH_SECONDS, ENOUGH_SECONDS + 1):
        places.learn(line([0.0, 1.0, 2.0]), second)
        assert place(places, 2.0) == Place(2, None)


def test_nobody_is_ahead_in_a_queue_that_was_empty_a_moment_ago() -> None:
    places = Places()
    places.learn(line([]), 1.0)
    assert place(places, 5.0) == Place(0, None)


def test_a_pace_that_nobody_has_seen_lately_is_forgotten() -> None:
    places = Places()
    places.learn(line([float(n) for n in range(100)]), 1.0)
    places.learn(line([float(n) for n in range(50, 100)]), 2.0)
    assert place(places, 80.0).estimated_start is not None
    places.learn(line([80.0, 90.0]), 3.0 + ENOUGH_SECONDS)
    assert place(places, 90.0) == Place(1, None)


async def get(served: Served, headers: dict[str, str], prediction_id: str) -> dict[str, object]:
    return (await served.http.get(f"/v1/predictions/{prediction_id}", headers=headers)).json()


async def test_a_waiting_prediction_tells_its_place_and_one_at_work_does_not(
    serve: Serve, database_url: str, redis_url: str
) -> None:
    async with serve() as first, serve() as second:
        root = await first.admin()
        await add_model(first, root)
        made = [(await ask(first, root))["id"] for _ in range(3)]
        # The second gateway has not seen them come: it looks at the queue.
        shown = [await get(second, root, one) for one in made]
        assert [one["queue_position"] for one in shown] == [0, 1, 2]
        assert {one["estimated_start"] for one in shown} == {None}
        listed = (await second.http.get("/v1/predictions", headers=root)).json()["results"]
        assert [one["queue_position"] for one in listed] == [2, 1, 0]
        async with lane_by_hand(database_url, redis_url) as lane:
            leases = await lane.claim()
            assert not set(PLACE) & (await get(second, root, made[0])).keys()
            await lane.finish(leases)
        assert not set(PLACE) & (await get(second, root, made[2])).keys()


async def test_a_sample_of_the_database_is_in_order_and_of_the_waiting_only(
    served: Served, database_url: str, redis_url: str
) -> None:
    root = await served.admin()
    await add_model(served, root)
    async with lane_by_hand(database_url, redis_url) as lane:
        await ask(served, root)
        await lane.claim()
        for _ in range(5):
            await ask(served, root)
        count = await count_backlog(served.gateway.engine)
    ranks = count.ranks["echo"]
    assert count.by_pool["echo"] == 5
    assert (len(ranks), len(set(ranks)), sorted(ranks)) == (RANKS, 5, ranks)
