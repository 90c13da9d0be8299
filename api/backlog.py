"""How much waits, and how fast it drains; beyond a bound new predictions are told when to return."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from api.errors import RETRY_AFTER_SECONDS, TooManyRequests
from api.places import Places
from api.stopping import stop
from db.pools import is_deployment
from db.repositories.backlog import BacklogCount, count_backlog
from db.states import Priority

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
# A look at a long queue costs; it may take up this part of the time.
LOOK_SHARE = 0.05
# Who asks for a place waits for a look when the last one was longer ago.
STALE_SECONDS = 5.0
MAX_RETRY_AFTER_SECONDS = 300.0
# Where nothing drains; where nobody knows yet, somebody will in a second.
DEFAULT_RETRY_AFTER_SECONDS = 10.0
# How much of an old rate is kept when a new one is measured.
RATE_MEMORY = 0.7


class BacklogFull(TooManyRequests):
    """As many predictions wait as may wait."""


@dataclass(slots=True)
class _Known:
    """What this process knows: counted in the database, plus what it has accepted since."""

    by_pool: Counter[str] = field(default_factory=Counter)
    by_owner: Counter[str] = field(default_factory=Counter)
    finished: dict[str, int] = field(default_factory=dict)
    at: float = -inf


class Backlog:
    """Bounds the queue, and knows the `places` in it.

    Counts are as old as a second, so gateways together may go a little beyond the bounds.
    """

    def __init__(
        self, engine: AsyncEngine, *, per_pool: int, per_user: int, of_owner: Mapping[str, int] | None = None
    ) -> None:
        """`of_owner` has the bounds of those owners that are no usual users."""
        self._engine = engine
        self._per_pool = per_pool
        self._per_user = per_user
        self._of_owner = of_owner or {}
        self.places = Places()
        self._known = _Known()
        self._rates: dict[str, float] = {}
        self._look_at = 0.0
        self._looking: asyncio.Task[None] | None = None

    def admit(self, pool: str, owner_id: str, priority: Priority = Priority.DEFAULT) -> None:
        """Count one prediction in. Raises `BacklogFull` when there is no room for it.

        Batch work neither finds the queue full nor fills it for others: its window bounds it.
        """
        self.require_room(pool, owner_id, priority)
        if priority < Priority.BATCH:
            self._known.by_owner[owner_id] += 1
            self._known.by_pool[pool] += 1

    def require_room(self, pool: str, owner_id: str, priority: Priority = Priority.DEFAULT) -> None:
        """Raises `BacklogFull` when `admit` would; counts nothing."""
        if priority >= Priority.BATCH:
            return
        self._look_if_due()
        known = self._known
        bound = self._of_owner.get(owner_id, self._per_user)
        self._check(known.by_owner[owner_id], bound, pool, "of yours")
        place = "of this deployment" if is_deployment(pool) else f"in the pool {pool}"
        self._check(known.by_pool[pool], self._per_pool, pool, place)

    async def refresh(self) -> None:
        """Return when `places` are of the last seconds, unless the queue cannot be counted now."""
        self._look_if_due()
        if self._looking is not None and time.monotonic() - self._known.at > STALE_SECONDS:
            await asyncio.wait([self._looking])

    async def close(self) -> None:
        """Stop looking."""
        await stop(self._looking)

    def _look_if_due(self) -> None:
        if self._looking is None and time.monotonic() >= self._look_at:
            self._looking = asyncio.create_task(self._look(), name="backlog")

    def _check(self, waiting: int, bound: int, pool: str, whose: str) -> None:
        if waiting < bound:
            return
        # Until a tenth of the room is free again, so that who returns finds some.
        excess = waiting - 0.9 * bound
        rate = self._rates.get(pool)
        if rate is None:
            seconds = float(RETRY_AFTER_SECONDS)
        else:
            seconds = excess / rate if rate > 0 else DEFAULT_RETRY_AFTER_SECONDS
        raise BacklogFull(
            f"{waiting} predictions {whose} wait already",
            retry_after_seconds=min(seconds, MAX_RETRY_AFTER_SECONDS),
        )

    async def _look(self) -> None:
        started = time.monotonic()
        try:
            count = await count_backlog(self._engine)
        except SQLAlchemyError as error:
            log.warning("the backlog cannot be counted now: %s", error)
        else:
            self._learn(count, started)
        finally:
            took = time.monotonic() - started
            self._look_at = time.monotonic() + max(LOOK_SECONDS, took / LOOK_SHARE)
            self._looking = None

    def _learn(self, count: BacklogCount, now: float) -> None:
        before = self._known
        self._known = _Known(Counter(count.bounded), Counter(count.by_owner), dict(count.finished), now)
        self.places.learn(count, now)
        if before.at == -inf:
            return
        for pool, finished in count.finished.items():
            # Lanes that have gone take their counts with them: such a step back is no rate.
            rate = (finished - before.finished.get(pool, finished)) / (now - before.at)
            if rate >= 0:
                old = self._rates.get(pool, rate)
                self._rates[pool] = RATE_MEMORY * old + (1 - RATE_MEMORY) * rate
