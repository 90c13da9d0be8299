"""Who has lost a claim of a batch writes nothing more, and what is done twice is done once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from db.ids import new_id
from db.repositories import batches
from db.repositories.batches import Claim, LostClaim, Settled
from db.repositories.transactions import write
from db.session import async_engine
from db.settings import DatabaseSettings
from db.tables import Batch

pytestmark = pytest.mark.anyio

NOW = datetime.now(UTC)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    engine = async_engine(DatabaseSettings(database_url=database_url, _env_file=None))
    yield engine
    await engine.dispose()


async def add(engine: AsyncEngine, **changes: Any) -> str:
    """A batch whose next step is due; its id."""
    values = {
        "id": new_id(),
        "owner_id": "a",
        "endpoint": "/v1/embeddings",
        "input_file_id": "f",
        "created_at": NOW,
        "expires_at": NOW + timedelta(days=1),
        "due_at": NOW,
    }
    batch = Batch(**values | changes)
    async with write(engine) as session:
        await batches.add(session, batch)
    return batch.id


async def claimed(engine: AsyncEngine, *, seconds: float = 60) -> Claim:
    claim = await batches.claim(engine, new_id(), seconds=seconds)
    assert claim is not None
    return claim


def line(number: int, *prediction_ids: str) -> dict[str, Any]:
    ids = list(prediction_ids)
    return {"line": number, "custom_id": str(number), "start": number, "size": 1, "prediction_ids": ids}


async def test_batches_take_turns_and_one_that_is_claimed_is_left_alone(engine: AsyncEngine) -> None:
    first = await add(engine, due_at=NOW - timedelta(seconds=2))
    second = await add(engine, due_at=NOW - timedelta(seconds=1))
    claim = await claimed(engine)
    assert claim.batch.id == first
    assert (await claimed(engine)).batch.id == second
    assert await batches.claim(engine, new_id(), seconds=60) is None
    await claim.release(seconds=0)
    assert (await claimed(engine)).batch.id == first


async def test_a_claim_that_has_run_out_is_another_s_and_writes_nothing_more(engine: AsyncEngine) -> None:
    await add(engine, status="in_progress")
    old = await claimed(engine, seconds=0)
    new = await claimed(engine)
    for attempt in (
        old.renew(60),
        old.forget_lines(),
        old.add_lines([line(1, "p")]),
        old.take_lines(1),
        old.settle([Settled(1, "completed")]),
        old.move("finalizing"),
        old.end("completed"),
    ):
        with pytest.raises(LostClaim):
            await attempt
    await old.release(seconds=0)
    assert await batches.claim(engine, new_id(), seconds=60) is None, "it is claimed still"
    await new.end("completed", completed=0)
    assert await batches.claim(engine, new_id(), seconds=60) is None, "it has ended"


async def test_lines_are_taken_in_order_by_the_predictions_that_they_become(engine: AsyncEngine) -> None:
    await add(engine, status="in_progress")
    claim = await claimed(engine)
    await claim.add_lines([line(1, "a", "b"), line(2, "c"), line(3, "d", "e"), line(4, "f", "g", "h")])
    assert [span.line for span in await claim.take_lines(4)] == [1, 2]
    assert [span.line for span in await claim.take_lines(2)] == [3]
    assert [span.line for span in await claim.take_lines(1)] == [4], "one at least"
    assert await claim.take_lines(4) == []


async def test_a_line_that_ends_twice_counts_once(engine: AsyncEngine) -> None:
    await add(engine, status="in_progress")
    claim = await claimed(engine)
    await claim.add_lines([line(1, "a"), line(2, "b")])
    await claim.take_lines(2)
    for _ in range(2):
        await claim.settle([Settled(1, "completed"), Settled(2, "failed", 400, "{}")])
    async with engine.connect() as connection:
        counts = (await connection.execute(text("SELECT completed, failed FROM batches"))).one()
    assert tuple(counts) == (1, 1)


async def test_a_batch_that_is_to_be_cancelled_goes_no_other_way(engine: AsyncEngine) -> None:
    batch_id = await add(engine, status="in_progress")
    claim = await claimed(engine)
    await claim.add_lines([line(1, "a")])
    async with write(engine) as session:
        assert await batches.begin_cancelling(session, batch_id)
        assert not await batches.begin_cancelling(session, batch_id)
    for attempt in (claim.move("finalizing"), claim.end("completed")):
        with pytest.raises(LostClaim):
            await attempt
    assert len(await claim.lines_after(0, limit=9)) == 1, "nothing of it is lost"
    await claim.release(seconds=0)
    assert (await claimed(engine)).batch.status == "cancelling"
