"""Whether the gateway can do its work: the database, the broker, and lanes for the pools in use."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import sqlalchemy.exc
from redis.exceptions import RedisError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from api.stopping import stop
from db.repositories import lanes
from db.repositories.transactions import read

if TYPE_CHECKING:
    from api.gateway import Gateway

log = logging.getLogger(__name__)

CHECK_SECONDS = 1.0
LOOK_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Readiness:
    """What was found. `lanes` counts them for each pool in use and each that has any."""

    database: bool
    broker: bool
    lanes: dict[str, int]
    pools_without_lanes: list[str]
    limits: Literal["shared", "local"]

    @property
    def is_ready(self) -> bool:
        """Predictions are accepted and will run. Without the broker too: the steward finds them."""
        return self.database and not self.pools_without_lanes

    @property
    def status(self) -> Literal["ready", "degraded", "unavailable"]:
        if not self.is_ready:
            return "unavailable"
        return "ready" if self.broker and self.limits == "shared" else "degraded"

    def report(self) -> dict[str, Any]:
        """As the wire has it."""
        checks = {
            "database": "ok" if self.database else "unavailable",
            "broker": "ok" if self.broker else "unavailable",
            "lanes": self.lanes,
            "limits": self.limits,
        }
        return {"status": self.status, "checks": checks}


class Startup:
    """Whether the gateway has been ready once. Who asks before that shares one look at a time with others."""

    def __init__(self) -> None:
        self._is_over = False
        self._looking: asyncio.Task[Readiness] | None = None
        self._look_at = 0.0

    async def is_over(self, gateway: Gateway) -> bool:
        """Looks into the servers until all is there once, and never again."""
        if not self._is_over:
            if self._looking is None or (self._looking.done() and time.monotonic() >= self._look_at):
                self._look_at = time.monotonic() + LOOK_SECONDS
                self._looking = asyncio.create_task(readiness(gateway), name="startup")
            # Who goes away must not end the look for the others.
            self._is_over = (await asyncio.shield(self._looking)).is_ready
        return self._is_over

    async def close(self) -> None:
        """Stop looking."""
        await stop(self._looking)


async def readiness(gateway: Gateway) -> Readiness:
    """Look at everything at once, for about a second at most."""
    pools, broker = await asyncio.gather(_pools(gateway), _broker(gateway))
    in_use, live = pools if pools is not None else ([], {})
    return Readiness(
        database=pools is not None,
        broker=broker,
        lanes={pool: live.get(pool, 0) for pool in sorted({*in_use, *live})},
        pools_without_lanes=[pool for pool in in_use if not live.get(pool)],
        limits="shared" if gateway.limiter.is_shared else "local",
    )


async def _pools(gateway: Gateway) -> tuple[list[str], dict[str, int]] | None:
    """The pools in use and the live lanes of every pool; None without the database."""

    async def query(session: AsyncSession) -> tuple[list[str], dict[str, int]]:
        live = await lanes.live_lanes(session, lease_seconds=gateway.settings.lease_seconds)
        return await lanes.pools_in_use(session), live

    try:
        return await gateway.patience.within(CHECK_SECONDS, read(gateway.engine, query))
    except (DBAPIError, sqlalchemy.exc.TimeoutError, TimeoutError) as error:
        log.warning("the database is not ready: %s", error)
        return None


async def _broker(gateway: Gateway) -> bool:
    try:
        return bool(await gateway.redis.ping())
    except (RedisError, OSError):
        return False
