"""Keyset pages: the newest rows first, and from any row on to the older or back to the newer ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Select

S = TypeVar("S", bound=Select[*tuple[Any, ...]])


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in a list: the rows older than the one of this id, or the newer ones."""

    id: str
    newer: bool = False


def keyset(
    query: S,
    order: ColumnElement[Any],
    *,
    limit: int,
    cursor: Cursor | None,
    place: ColumnElement[Any] | None = None,
    ascending: bool = False,
) -> S:
    """`limit` + 1 rows of `query` from `cursor` on; the one too many tells that there are more.

    `order` rises with time and is unique. `place` is the cursor's value of it, when that is not its id.
    The rows come from the cursor outwards: the newest first, but the oldest first for `cursor.newer`.
    `ascending` turns the whole list around, so that what is newer counts as older.
    """
    rises = ascending != (cursor is not None and cursor.newer)
    if cursor is not None:
        here = cursor.id if place is None else place
        query = query.where(order > here if rises else order < here)
    return query.order_by(order.asc() if rises else order.desc()).limit(limit + 1)
