"""Ringing the bell of a pool: "there is work", said to whichever lane of its model type is idle."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

import redis
import redis.asyncio

from db.pools import model_type_of
from workers.messages import MAX_BELLS, RING_SCRIPT, bell

logger = logging.getLogger(__name__)

# Where enough bells lie in every queue already, all lanes are busy: the next round may come a little later.
ENOUGH_SECONDS = 0.02


class Bells:
    """The lanes' and the steward's bells. Ringing never raises: the steward rings again what was lost."""

    def __init__(self, client: redis.Redis) -> None:
        self._ring = client.register_script(RING_SCRIPT)

    def ring(self, pools: Iterable[str]) -> bool:
        """Ring once for each pool; False when Redis cannot be reached."""
        try:
            for pool in pools:
                self._ring(keys=[name := model_type_of(pool)], args=[bell(name), MAX_BELLS])
        except redis.RedisError as error:
            logger.warning("the bell could not be rung: %s", error)
            return False
        return True


class GatewayBells:
    """The gateway's bells: they are rung behind the response, one for each pool and round.

    What is asked for while a round is under way joins the next one, so a busy gateway rings less often
    than it commits.
    """

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._ring = client.register_script(RING_SCRIPT)
        self._wanted: set[str] = set()
        self._ringing: asyncio.Task[None] | None = None
        self._reachable = True

    def ring(self, pools: Iterable[str]) -> None:
        """Have the bell of each pool rung soon."""
        self._wanted.update(pools)
        if self._wanted and self._ringing is None:
            self._ringing = asyncio.create_task(self._ring_all(), name="bells")

    async def close(self) -> None:
        """Finish ringing."""
        if self._ringing is not None:
            await self._ringing

    async def _ring_all(self) -> None:
        try:
            while self._wanted:
                pools, self._wanted = self._wanted, set()
                names = map(model_type_of, pools)
                rung = [await self._ring(keys=[name], args=[bell(name), MAX_BELLS]) for name in names]
                if not any(rung):
                    await asyncio.sleep(ENOUGH_SECONDS)
            self._note(reachable=True)
        except (redis.RedisError, OSError) as error:
            self._wanted.clear()
            self._note(reachable=False, error=error)
        finally:
            self._ringing = None

    def _note(self, *, reachable: bool, error: Exception | None = None) -> None:
        if reachable != self._reachable:
            self._reachable = reachable
            if reachable:
                logger.info("bells ring again")
            else:
                logger.warning("Redis is away, so bells are left to the steward: %s", error)
