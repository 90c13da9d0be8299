"""One key, one prediction, whoever asks how often; one id, one prediction, however often it is sent."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import msgspec
import pytest
from psycopg import AsyncConnection

from db.errors import IdempotencyMismatch
from db.leases import Outcome
from db.states import Status
from db.submissions import Accepted, Submission, submit
from tests.db.interleaving import Sessions
from tests.db.requests import POOL, VERSIONS, Request

KEYED = Request(key="k")


def send(world: Sessions, batch: list[Submission]) -> list[Accepted | IdempotencyMismatch]:
    return world.run(submit(world.intake, batch))


def queued(world: Sessions) -> list[str]:
    return [row[0] for row in world.rows("SELECT id FROM queue ORDER BY id")]


def test_the_same_key_twice_in_one_commit_is_one_prediction(world: Sessions) -> None:
    first, second = KEYED.submission(), KEYED.submission()
    assert send(world, [first, second]) == [Accepted(first.id), Accepted(first.id, replayed=True)]
    assert queued(world) == [first.id]


def test_a_key_stands_for_its_prediction_after_that_has_finished(world: Sessions) -> None:
    first, again = KEYED.submission(), KEYED.submission()
    send(world, [first])
    lane = world.lane()
    (lease,) = lane.claim(POOL, VERSIONS[0], limit=1, budget=1).leases
    lane.finish([Outcome(lease, Status.SUCCEEDED, output="1")])
    assert send(world, [again]) == [Accepted(first.id, replayed=True)]
    assert queued(world) == []


def test_a_key_that_is_used_for_another_request_is_refused_and_its_neighbours_are_not(
    world: Sessions,
) -> None:
    first, other, innocent = KEYED.submission(), replace(KEYED, body="y").submission(), Request().submission()
    send(world, [first])
    mismatch, accepted = send(world, [other, innocent])
    assert isinstance(mismatch, IdempotencyMismatch)
    assert accepted == Accepted(innocent.id)
    assert queued(world) == sorted([first.id, innocent.id])


def test_owners_do_not_share_keys(world: Sessions) -> None:
    anns, bobs = KEYED.submission(), replace(KEYED, owner="bob").submission()
    assert send(world, [anns, bobs]) == [Accepted(anns.id), Accepted(bobs.id)]
    assert queued(world) == sorted([anns.id, bobs.id])


@pytest.mark.slow
def test_two_gateways_that_race_for_one_key_store_one_prediction(world: Sessions) -> None:
    """The second waits for the first one's commit, then answers with the first one's prediction."""
    first, second = KEYED.submission(), KEYED.submission()

    async def race() -> list[Accepted | IdempotencyMismatch]:
        info = world.intake.info
        other = await AsyncConnection.connect(info.dsn, password=info.password, autocommit=True)
        async with other:
            async with other.transaction():
                await submit(other, [first])
                racing = asyncio.create_task(submit(world.intake, [second]))
                await asyncio.wait([racing], timeout=0.2)
                assert not racing.done()
            return await racing

    assert world.run(race()) == [Accepted(first.id, replayed=True)]
    assert queued(world) == [first.id]


def test_a_key_is_free_again_when_the_gateway_that_took_it_died_before_its_commit(world: Sessions) -> None:
    lost, second = KEYED.submission(), KEYED.submission()

    async def crash() -> None:
        info = world.intake.info
        other = await AsyncConnection.connect(info.dsn, password=info.password)
        await other.execute("SELECT 1")
        await submit(other, [lost])
        await other.close()

    world.run(crash())
    assert send(world, [second]) == [Accepted(second.id)]
    assert queued(world) == [second.id]


@pytest.mark.parametrize("key", [None, "k"])
def test_what_is_sent_again_after_a_lost_answer_is_queued_once(world: Sessions, key: str | None) -> None:
    batch = [replace(KEYED, key=key).submission(), Request(owner="bob").submission()]
    assert send(world, batch) == send(world, batch) == [Accepted(s.id) for s in batch]
    assert queued(world) == sorted(s.id for s in batch)


@pytest.mark.parametrize("key", [None, "k"])
def test_what_is_sent_again_although_it_has_finished_does_not_run_again(
    world: Sessions, key: str | None
) -> None:
    submission = replace(KEYED, key=key).submission()
    send(world, [submission])
    lane = world.lane()
    (lease,) = lane.claim(POOL, VERSIONS[0], limit=1, budget=1).leases
    lane.finish([Outcome(lease, Status.SUCCEEDED, output='"done"')])
    assert send(world, [submission]) == [Accepted(submission.id)]
    assert queued(world) == []
    assert world.rows("SELECT status, output FROM predictions") == [("succeeded", "done")]


def test_a_commit_holds_or_falls_as_a_whole(world: Sessions) -> None:
    good, broken = Request().submission(), msgspec.structs.replace(Request().submission(), input="not JSON")
    with pytest.raises(Exception, match="invalid input syntax for type json"):
        send(world, [good, broken])
    assert world.rows("SELECT count(*) FROM predictions") == [(0,)]
    assert queued(world) == []
    assert send(world, [good]) == [Accepted(good.id)]
