"""Ringing the bell of a pool: "there is work", said to whichever lane of its model type is idle."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass

import redis
import redis.asyncio

from db.pools import model_type_of
from workers.messages import MAX_BELLS, RING_SCRIPT, WAKE_SCRIPT, Ring, bell

logger = logging.getLogger(__name__)

# Where enough bells lie in every queue already, all lanes are busy: the next round may come a little later.
ENOUGH_SECONDS = 0.02
# A lane that was woken ahead finds what is committed within this time; it looks for twice as long.
AHEAD_SECONDS = 0.004


class Bells:
    """The lanes' and the steward's bells. Ringing never raises: the steward rings again what was lost."""

    def __init__(self, client: redis.Redis) -> None:
        self._ring = client.register_script(RING_SCRIPT)

    def ring(self, pools: Iterable[str]) -> bool:
        """Ring once for each pool; False when Redis cannot be reached."""
        try:
            for pool in pools:
                self._ring(keys=[name := model_type_of(pool)], args=_rung(name))
        except redis.RedisError as error:
            logger.warning("the bell could not be rung: %s", error)
            return False
        return True


def _rung(name: str) -> list[str | int]:
    """What `RING_SCRIPT` takes beside its key."""
    return [Ring(name).written(), bell(name), MAX_BELLS]


@dataclass(frozen=True, slots=True)
class Ahead:
    """A bell that was rung ahead, at the loop's time `rung_at`; `woken` tells whether a lane was."""

    pool: str
    rung_at: float
    woken: asyncio.Task[bool]


class GatewayBells:
    """The gateway's bells: they are rung behind the response, one for each pool and round.

    What is asked for while a round is under way joins the next one, so a busy gateway rings less often
    than it commits.
    """

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._ring = client.register_script(RING_SCRIPT)
        self._wake = client.register_script(WAKE_SCRIPT)
        self._ahead: set[asyncio.Task[bool]] = set()
        self._wanted: set[str] = set()
        self._ringing: asyncio.Task[None] | None = None
        self._reachable = True

    def ring(self, pools: Iterable[str]) -> None:
        """Have the bell of each pool rung soon."""
        self._wanted.update(pools)
        if self._wanted and self._ringing is None:
            self._ringing = asyncio.create_task(self._ring_all(), name="bells")

    def ring_ahead(self, pool: str, expected: str) -> Ahead:
        """Wake a lane by the door for a prediction that is about to be committed: `confirm` it then.

        The lane is there by the time that there is something to claim.
        """
        woken = asyncio.create_task(self._wake_ahead(pool, expected), name="bell ahead")
        self._ahead.add(woken)
        woken.add_done_callback(self._ahead.discard)
        return Ahead(pool, asyncio.get_running_loop().time(), woken)

    def confirm(self, ahead: Ahead) -> None:
        """The prediction is committed: ring in the usual way, unless a lane was woken and still looks."""
        if asyncio.get_running_loop().time() - ahead.rung_at > AHEAD_SECONDS:
            self.ring([ahead.pool])
        else:
            ahead.woken.add_done_callback(lambda woken: None if woken.result() else self.ring([ahead.pool]))

    async def close(self) -> None:
        """Finish ringing."""
        if self._ahead:
            await asyncio.wait(self._ahead)
        if self._ringing is not None:
            await self._ringing

    async def _wake_ahead(self, pool: str, expected: str) -> bool:
        await asyncio.sleep(0)  # What is to be committed is sent first.
        name = model_type_of(pool)
        try:
            return bool(await self._wake(keys=[name], args=[Ring(name, expected).written()]))
        except (redis.RedisError, OSError):
            return False

    async def _ring_all(self) -> None:
        try:
            while self._wanted:
                pools, self._wanted = self._wanted, set()
                rung = [await self._ring(keys=[name], args=_rung(name)) for name in map(model_type_of, pools)]
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
