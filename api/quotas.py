"""What a user may use in a calendar month, where an administrator has set a limit."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncEngine

from api.cache import TimedCache
from api.credentials import Principal
from api.errors import PaymentRequired
from db.repositories import usage
from db.repositories.transactions import read

LOOK_SECONDS = 5.0
MAX_CACHED = 10_000


class SpendLimitReached(PaymentRequired):
    """Monthly spend limit reached."""


class Quotas:
    """Compares what a user's predictions of this month have run with what they may.

    Who has no limit costs nothing. What is known of the others is up to `LOOK_SECONDS` old, and what runs
    counts when it has ended: so much may go beyond a limit.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._used: TimedCache[tuple[str, datetime], float] = TimedCache(
            seconds=LOOK_SECONDS, max_entries=MAX_CACHED
        )
        self._looking = asyncio.Lock()

    async def admit(self, principal: Principal) -> None:
        """Raises `SpendLimitReached` when the caller has nothing left."""
        allowed = principal.monthly_run_seconds
        if allowed is None:
            return
        used = await self.used_seconds(principal.id)
        if used >= allowed:
            raise SpendLimitReached(
                f"your predictions of this month have run {used:.1f} s, and may run {allowed:.1f} s in all;"
                " the next month begins at 00:00 UTC on its first day"
            )

    async def used_seconds(self, user_id: str) -> float:
        """How long the user's predictions of this month (UTC) have run."""
        month = _this_month()
        used = self._used.get((user_id, month))
        if used is None:
            # One look at a time: a crowd that comes when an entry has ended finds what the first one saw.
            async with self._looking:
                used = self._used.get((user_id, month))
                if used is None:
                    used = await read(
                        self._engine, lambda session: usage.run_seconds(session, user_id, since=month)
                    )
                    self._used.put((user_id, month), used)
        return used


def _this_month() -> datetime:
    return datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
