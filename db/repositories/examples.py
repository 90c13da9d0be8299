"""Predictions that models show as their examples."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from db.documents import RECORD_COLUMNS, RECORD_JOINS, PredictionRecord, read_record

_ONES = text(
    f"SELECT {RECORD_COLUMNS} FROM predictions p {RECORD_JOINS} WHERE p.id = ANY(CAST(:ids AS text[]))"
)


async def by_ids(session: AsyncSession, ids: Iterable[str]) -> dict[str, PredictionRecord]:
    """Those of these predictions that are still there and have kept their data, by their ids."""
    rows = await session.execute(_ONES, {"ids": list(ids)})
    records = [read_record(row) for row in rows]
    return {record.id: record for record in records if not record.data_removed}
