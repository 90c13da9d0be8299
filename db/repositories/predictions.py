"""Reading predictions. Async; the gateway only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncSession

from db.documents import RECORD_COLUMNS, RECORD_JOINS, PredictionRecord, read_record
from db.errors import IdempotencyMismatch
from db.ids import floor_id
from db.repositories.keyset import Cursor
from db.submissions import Submission

_ONE = text(f"SELECT {RECORD_COLUMNS} FROM predictions p {RECORD_JOINS} WHERE p.id = :id")

_SOME = text(
    f"SELECT {RECORD_COLUMNS} FROM predictions p {RECORD_JOINS} WHERE p.id = ANY(CAST(:ids AS text[]))"
)

_KEYED = text(
    f"SELECT {RECORD_COLUMNS} FROM idempotency_keys k JOIN predictions p ON p.id = k.prediction_id"
    f" {RECORD_JOINS} WHERE k.owner_id = :owner AND k.key = :key"
)

_KEY = text("SELECT prediction_id, digest FROM idempotency_keys WHERE owner_id = :owner AND key = :key")


async def by_id(session: AsyncSession, prediction_id: str) -> PredictionRecord | None:
    """The prediction of this id, whoever owns it."""
    row = (await session.execute(_ONE, {"id": prediction_id})).first()
    return None if row is None else read_record(row)


async def by_ids(session: AsyncSession, ids: Sequence[str]) -> dict[str, PredictionRecord]:
    """Those of these predictions that there are, whoever owns them, by their ids."""
    rows = await session.execute(_SOME, {"ids": list(ids)})
    return {row.id: read_record(row) for row in rows}


async def by_key_alone(session: AsyncSession, owner_id: str, key: str) -> PredictionRecord | None:
    """The prediction that an owner's idempotency key stands for, whatever was asked for by it."""
    row = (await session.execute(_KEYED, {"owner": owner_id, "key": key})).first()
    return None if row is None else read_record(row)


async def by_key(session: AsyncSession, submission: Submission) -> str | None:
    """The id of the prediction that a submission's idempotency key stands for already, if it has one.

    Raises `IdempotencyMismatch`.
    """
    key = submission.idempotency_key
    row = (await session.execute(_KEY, {"owner": submission.owner_id, "key": key})).first()
    if key is None or row is None:
        return None
    if bytes(row.digest) != submission.digest:
        raise IdempotencyMismatch(key)
    return str(row.prediction_id)


@dataclass(frozen=True, slots=True)
class Filters:
    """Which predictions a list has: of one owner or of all, by whom they were asked for, and when."""

    owner_id: str | None = None
    source: Literal["api", "web"] | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None

    def conditions(self) -> Iterator[str]:
        """As SQL. Ids carry their time to the millisecond, so times are ranges of the index."""
        if self.owner_id is not None:
            yield "owner_id = :owner"
        if self.source is not None:
            # Not a parameter: only so the planner knows the partial index of those few.
            yield f"source = '{self.source}'"
        if self.created_after is not None:
            yield "id >= :oldest"
        if self.created_before is not None:
            yield "id < :newest"

    def parameters(self) -> dict[str, str | None]:
        return {
            "owner": self.owner_id,
            "oldest": floor_id(self.created_after) if self.created_after else None,
            "newest": floor_id(self.created_before) if self.created_before else None,
        }


async def browse(
    session: AsyncSession, filters: Filters, *, limit: int, cursor: Cursor | None
) -> list[PredictionRecord]:
    """`limit` + 1 predictions from the cursor outwards: the time of `created_after` on, before the other."""
    parameters = filters.parameters() | {"limit": limit + 1, "here": cursor.id if cursor else None}
    rows = await session.execute(_page(filters, cursor), parameters)
    return [read_record(row) for row in rows]


def _page(filters: Filters, cursor: Cursor | None) -> TextClause:
    """The page is cut before it is joined, so that its cost is the page's and not the table's."""
    newer = cursor is not None and cursor.newer
    conditions = ["true", *filters.conditions()]
    if cursor is not None:
        conditions.append("id > :here" if newer else "id < :here")
    order = "ASC" if newer else "DESC"
    return text(
        f"SELECT {RECORD_COLUMNS} FROM (SELECT * FROM predictions WHERE {' AND '.join(conditions)}"
        f" ORDER BY id {order} LIMIT :limit) p {RECORD_JOINS} ORDER BY p.id {order}"
    )
