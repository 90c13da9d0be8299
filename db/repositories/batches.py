"""Batches and their lines. Who takes a batch's next step holds its claim: without it nothing is written.

Async; the gateway only.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import delete, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from db.errors import Conflict
from db.repositories.keyset import Cursor, keyset
from db.repositories.transactions import read, write
from db.tables import Batch, BatchLine, File

# Those of a batch that has not ended.
UNENDED = Batch.due_at.is_not(None)


class LostClaim(Conflict):
    """Another process takes this batch's steps now."""


async def add(session: AsyncSession, batch: Batch) -> None:
    session.add(batch)
    await session.flush()
    await session.refresh(batch)


async def by_id(session: AsyncSession, owner_id: str, batch_id: str) -> Batch | None:
    """The batch of this id, if it is this owner's."""
    return await session.scalar(select(Batch).where(Batch.id == batch_id, Batch.owner_id == owner_id))


async def browse(session: AsyncSession, owner_id: str, *, limit: int, cursor: Cursor | None) -> list[Batch]:
    """A keyset page (`limit` + 1 rows) of this owner's batches."""
    query = select(Batch).where(Batch.owner_id == owner_id)
    return list(await session.scalars(keyset(query, Batch.id.expression, limit=limit, cursor=cursor)))


async def count_unended(session: AsyncSession, owner_id: str) -> int:
    """How many batches of this owner have not ended."""
    query = select(func.count()).where(Batch.owner_id == owner_id, UNENDED)
    return await session.scalar(query) or 0


async def begin_cancelling(session: AsyncSession, batch_id: str) -> bool:
    """Have a batch be cancelled, unless it is about to end; its next step is due at once."""
    cancelling = (
        update(Batch)
        .where(Batch.id == batch_id, Batch.status.in_(["validating", "in_progress"]))
        .values(
            status="cancelling",
            cancelling_at=func.now(),
            due_at=text("CASE WHEN runner IS NULL THEN now() ELSE due_at END"),
        )
        .returning(Batch.id)
    )
    return await session.scalar(cancelling) is not None


_CLAIM = text(
    """
    UPDATE batches SET runner = :runner, due_at = clock_timestamp() + make_interval(secs => :seconds)
    WHERE id = (
        SELECT id FROM batches WHERE due_at <= clock_timestamp()
        ORDER BY due_at LIMIT 1 FOR UPDATE SKIP LOCKED
    )
    RETURNING *, clock_timestamp() >= expires_at AS is_late
    """
)
_RENEW = text(
    "UPDATE batches SET due_at = clock_timestamp() + make_interval(secs => :seconds)"
    " WHERE id = :id AND runner = :runner RETURNING id"
)
_RELEASE = text(
    "UPDATE batches SET runner = NULL, due_at = clock_timestamp() + make_interval(secs => :seconds)"
    " WHERE id = :id AND runner = :runner AND due_at IS NOT NULL"
)
_FENCE = text("SELECT 1 FROM batches WHERE id = :id AND runner = :runner FOR NO KEY UPDATE")

# By keys alone, whatever the planner knows of the tables: the predictions are many.
_UNDER_WAY = text(
    """
    SELECT l.line, l.start, l.size, l.prediction_ids,
           bool_and(p.status IS NOT NULL) AS is_there, bool_and(p.completed_at IS NOT NULL) AS has_ended,
           bool_and(p.status = 'succeeded') AS has_succeeded,
           bool_or(p.status IN ('failed', 'canceled')) AS has_failed
    FROM batch_lines l CROSS JOIN LATERAL unnest(l.prediction_ids) AS asked(id)
    LEFT JOIN LATERAL (
        SELECT status, completed_at FROM predictions WHERE id = asked.id LIMIT 1
    ) p ON true
    WHERE l.batch_id = :id AND l.state = 'running'
    GROUP BY l.batch_id, l.line
    HAVING :all OR NOT bool_and(p.status IS NOT NULL AND p.completed_at IS NULL)
    ORDER BY l.line
    """
)
_RUNNING = text(
    "SELECT coalesce(sum(cardinality(prediction_ids)), 0) FROM batch_lines"
    " WHERE batch_id = :id AND state = 'running'"
)
_SETTLE = text(
    """
    WITH ended AS (
        UPDATE batch_lines l SET state = done.state, status_code = done.status_code, answer = done.answer
        FROM json_to_recordset(CAST(:lines AS json))
             AS done(line int, state text, status_code smallint, answer text)
        WHERE l.batch_id = :id AND l.line = done.line AND l.state = 'running'
        RETURNING l.state
    )
    UPDATE batches SET completed = completed + (SELECT count(*) FROM ended WHERE state = 'completed'),
                       failed = failed + (SELECT count(*) FROM ended WHERE state = 'failed')
    WHERE id = :id
    """
)


@dataclass(frozen=True, slots=True)
class Span:
    """A line of a batch by its number, its place in the input file in bytes, and its predictions."""

    line: int
    start: int
    size: int
    prediction_ids: Sequence[str]


@dataclass(frozen=True, slots=True)
class UnderWay:
    """A line whose predictions were submitted, or were about to be, and what has become of them.

    `has_failed` tells of any of them, the others tell of all.
    """

    span: Span
    is_there: bool
    has_ended: bool
    has_succeeded: bool
    has_failed: bool


@dataclass(frozen=True, slots=True)
class Settled:
    """How a line has ended: `completed`, or `failed`, with a refusal where it became no prediction."""

    line: int
    state: str
    status_code: int | None = None
    answer: str | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to take one step of a batch, by the name `runner`; `batch` is as it was then.

    `is_late` tells that its completion window has passed.
    """

    engine: AsyncEngine
    runner: str
    batch: Batch
    is_late: bool

    async def renew(self, seconds: float) -> None:
        """Keep the claim for so long from now. Raises `LostClaim`."""
        async with write(self.engine) as session:
            renewed = await session.execute(_RENEW, self._named | {"seconds": seconds})
            if renewed.first() is None:
                raise LostClaim(f"batch {self.batch.id}")

    async def release(self, *, seconds: float) -> None:
        """Let anybody take the next step in so many seconds, unless the batch has ended."""
        async with write(self.engine) as session:
            await session.execute(_RELEASE, self._named | {"seconds": seconds})

    async def forget_lines(self) -> None:
        """Begin anew with the lines. Raises `LostClaim`."""
        async with write(self.engine) as session:
            await self._forget_lines(session)

    async def add_lines(self, lines: Sequence[dict[str, Any]]) -> None:
        """Store lines, by the columns of `BatchLine`. Raises `LostClaim`."""
        async with write(self.engine) as session:
            await self._fence(session)
            await session.execute(insert(BatchLine), [{"batch_id": self.batch.id} | one for one in lines])

    async def count_running(self) -> int:
        """How many predictions the lines have that are running."""
        return await read(self.engine, lambda session: self._count_running(session))

    async def _count_running(self, session: AsyncSession) -> int:
        return int(await session.scalar(_RUNNING, {"id": self.batch.id}) or 0)

    async def under_way(self, *, all: bool = False) -> list[UnderWay]:
        """The lines that are running, in their order; those with nothing to do for them only with `all`."""

        async def look(session: AsyncSession) -> list[UnderWay]:
            rows = await session.execute(_UNDER_WAY, {"id": self.batch.id, "all": all})
            return [
                UnderWay(
                    Span(row.line, row.start, row.size, row.prediction_ids),
                    row.is_there,
                    row.has_ended,
                    row.has_succeeded or False,
                    row.has_failed or False,
                )
                for row in rows
            ]

        return await read(self.engine, look)

    async def take_lines(self, most: int) -> list[Span]:
        """The next lines, running from now on: of at most so many predictions, but one line at least.

        Raises `LostClaim`.
        """
        of_batch = BatchLine.batch_id == self.batch.id
        columns = BatchLine.line, BatchLine.start, BatchLine.size, BatchLine.prediction_ids
        query = (
            select(*columns)
            .where(of_batch, BatchLine.state == "waiting")
            .order_by(BatchLine.line)
            .limit(most)
        )
        async with write(self.engine) as session:
            await self._fence(session)
            taken: list[Span] = []
            for row in await session.execute(query):
                most -= len(row.prediction_ids)
                if taken and most < 0:
                    break
                taken.append(Span(*row))
            if taken:
                running = update(BatchLine).where(
                    of_batch, BatchLine.line.between(taken[0].line, taken[-1].line)
                )
                await session.execute(running.values(state="running"))
        return taken

    async def settle(self, lines: Sequence[Settled]) -> None:
        """Note how lines have ended. Raises `LostClaim`."""
        if lines:
            async with write(self.engine) as session:
                await self._fence(session)
                noted = msgspec.json.encode(lines).decode()
                await session.execute(_SETTLE, {"id": self.batch.id, "lines": noted})

    async def move(self, status: str, **values: Any) -> None:
        """Go on to another status. Raises `LostClaim`, also where the batch is to be cancelled since."""
        async with write(self.engine) as session:
            await self._fence(session)
            await self._move(session, status, values)

    async def end(self, status: str, files: Collection[File] = (), **values: Any) -> None:
        """End the batch, with these files of its own; the lines go. Raises as `move`."""
        async with write(self.engine) as session:
            await self._forget_lines(session)
            session.add_all(files)
            await self._move(session, status, values | {"due_at": None, "runner": None})

    async def lines_after(self, line: int, *, limit: int) -> list[BatchLine]:
        """The next lines in their order, whatever has become of them."""
        query = (
            select(BatchLine)
            .where(BatchLine.batch_id == self.batch.id, BatchLine.line > line)
            .order_by(BatchLine.line)
            .limit(limit)
        )

        async def look(session: AsyncSession) -> list[BatchLine]:
            return list(await session.scalars(query))

        return await read(self.engine, look)

    @property
    def _named(self) -> dict[str, Any]:
        return {"id": self.batch.id, "runner": self.runner}

    async def _fence(self, session: AsyncSession) -> None:
        if (await session.execute(_FENCE, self._named)).first() is None:
            raise LostClaim(f"batch {self.batch.id}")

    async def _forget_lines(self, session: AsyncSession) -> None:
        await self._fence(session)
        await session.execute(delete(BatchLine).where(BatchLine.batch_id == self.batch.id))

    async def _move(self, session: AsyncSession, status: str, values: dict[str, Any]) -> None:
        still = Batch.id == self.batch.id, Batch.status == self.batch.status
        times = {f"{status}_at": func.now()}
        moved = update(Batch).where(*still).values(status=status, **times, **values).returning(Batch.id)
        if await session.scalar(moved) is None:
            raise LostClaim(f"batch {self.batch.id} is being cancelled")


async def claim(engine: AsyncEngine, runner: str, *, seconds: float) -> Claim | None:
    """The next step that is due, for so long; None when there is none."""
    async with write(engine) as session:
        row = (await session.execute(_CLAIM, {"runner": runner, "seconds": seconds})).first()
    if row is None:
        return None
    columns = dict(row._mapping)
    is_late = columns.pop("is_late")
    return Claim(engine, runner, Batch(**columns), is_late)
