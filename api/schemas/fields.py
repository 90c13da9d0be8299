"""Field types that several bodies share."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator


def _storable(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not hold a NUL character")
    return text


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)


PlainText = Annotated[str, AfterValidator(_storable)]
"""Text that PostgreSQL can store: all of Unicode but NUL."""
Moment = Annotated[datetime, AfterValidator(_utc)]
"""A point in time, in UTC whatever the database server's zone is."""
