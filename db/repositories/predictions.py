"""Reading predictions. Async; the gateway only."""

from __future__ import annotations

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncSession

from db.documents import RECORD_COLUMNS, RECORD_JOINS, PredictionRecord, read_record
from db.errors import IdempotencyMismatch
from db.repositories.keyset import Cursor
from db.submissions import Submission

_ONE = text(f"SELECT {RECORD_COLUMNS} FROM predictions p {RECORD_JOINS} WHERE p.id = :id")

_KEYED = text(
    f"SELECT {RECORD_COLUMNS} FROM idempotency_keys k JOIN predictions p ON p.id = k.prediction_id"
    f" {RECORD_JOINS} WHERE k.owner_id = :owner AND k.key = :key"
)

_KEY = text("SELECT prediction_id, digest FROM idempotency_keys WHERE owner_id = :owner AND key = :key")


async def by_id(session: AsyncSession, prediction_id: str) -> PredictionRecord | None:
    """The prediction of this id, whoever owns it."""
    row = (await session.execute(_ONE, {"id": prediction_id})).first()
    return None if row is None else read_record(row)


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


async def browse(
    session: AsyncSession, *, owner_id: str | None, limit: int, cursor: Cursor | None
) -> list[PredictionRecord]:
    """`limit` + 1 predictions from the cursor outwards, of one owner or of all."""
    parameters = {"owner": owner_id, "limit": limit + 1, "here": cursor.id if cursor else None}
    rows = await session.execute(_page(owner_id, cursor), parameters)
    return [read_record(row) for row in rows]


def _page(owner_id: str | None, cursor: Cursor | None) -> TextClause:
    """The page is cut before it is joined, so that its cost is the page's and not the table's."""
    newer = cursor is not None and cursor.newer
    conditions = ["true"]
    if owner_id is not None:
        conditions.append("owner_id = :owner")
    if cursor is not None:
        conditions.append("id > :here" if newer else "id < :here")
    order = "ASC" if newer else "DESC"
    return text(
        f"SELECT {RECORD_COLUMNS} FROM (SELECT * FROM predictions WHERE {' AND '.join(conditions)}"
        f" ORDER BY id {order} LIMIT :limit) p {RECORD_JOINS} ORDER BY p.id {order}"
    )
