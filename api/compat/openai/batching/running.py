"""Takes the steps of batches that are due, in the background of a gateway."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from api.compat.openai.batching.steps import STILL_SECONDS, Step
from api.credentials import Principal
from api.gateway import Gateway
from api.stopping import stop
from db.ids import new_id
from db.repositories import batches, users
from db.repositories.batches import Claim, LostClaim
from db.repositories.transactions import read
from db.tables import File, User

log = logging.getLogger(__name__)

# Batches that are under way are due again soon; else another gateway may have accepted one.
LOOK_SECONDS = 0.2
IDLE_LOOK_SECONDS = 1.0
IDLE_AFTER_SECONDS = 10.0
# Between two tries of a step that something was in the way of.
RETRY_SECONDS = 2.0
# So many batches are worked on at a time; the others take turns with them.
AT_ONCE = 4


@asynccontextmanager
async def running_batches(gateway: Gateway) -> AsyncIterator[None]:
    """Meanwhile this gateway takes steps, as all others do, each for the batch whose turn it is."""
    looking = asyncio.create_task(_Runner(gateway).run(), name="batches")
    try:
        yield
    finally:
        await stop(looking)


class _Runner:
    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._room = asyncio.Semaphore(AT_ONCE)

    async def run(self) -> None:
        """Never returns."""
        clock = asyncio.get_running_loop().time
        found_at = -IDLE_AFTER_SECONDS
        async with asyncio.TaskGroup() as steps:
            while True:
                await self._room.acquire()
                claim = await self._claim()
                if claim is None:
                    self._room.release()
                    is_idle = clock() - found_at > IDLE_AFTER_SECONDS
                    await self._pause(IDLE_LOOK_SECONDS if is_idle else LOOK_SECONDS)
                else:
                    found_at = clock()
                    steps.create_task(self._step(claim), name=f"batch {claim.batch.id}")

    async def _pause(self, seconds: float) -> None:
        added = self._gateway.batch_added
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await added.wait()
        added.clear()

    async def _claim(self) -> Claim | None:
        seconds = self._gateway.settings.lease_seconds
        try:
            return await batches.claim(self._gateway.engine, new_id(), seconds=seconds)
        except (SQLAlchemyError, OSError) as error:
            log.info("batches cannot be looked for now: %s", error)
        except Exception:  # a fault in one look must not end all looking
            log.exception("batches could not be looked for")
        return None

    async def _step(self, claim: Claim) -> None:
        """Take one step, and let go of the batch. Nothing that is in the way of one ends the others."""
        pause = RETRY_SECONDS
        try:
            pause = await self._while_held(claim)
        except LostClaim as error:
            log.info("%s is for another to go on with", error)
        except asyncio.CancelledError:
            pause = 0.0
            raise
        except Exception:  # nor a fault in one batch the others
            log.exception("batch %s could not go on; it is tried again", claim.batch.id)
        finally:
            self._room.release()
            # What cannot be let go of is due again when the claim has run out.
            with suppress(SQLAlchemyError, OSError):
                await claim.release(seconds=pause)

    async def _while_held(self, claim: Claim) -> float:
        """Take one step, unless the claim is lost meanwhile."""
        step = asyncio.create_task(self._take(claim))
        renewing = asyncio.create_task(self._renew(claim))
        try:
            await asyncio.wait({step, renewing}, return_when=asyncio.FIRST_COMPLETED)
            return step.result() if step.done() else renewing.result()
        finally:
            await stop(step, renewing)

    async def _renew(self, claim: Claim) -> float:
        seconds = self._gateway.settings.lease_seconds
        while True:
            await asyncio.sleep(seconds / 3)
            await claim.renew(seconds)

    async def _take(self, claim: Claim) -> float:
        batch = claim.batch

        async def find(session: AsyncSession) -> tuple[User | None, File | None]:
            return await users.by_id(session, batch.owner_id), await session.get(File, batch.input_file_id)

        user, file = await read(self._gateway.engine, find)
        if file is None or user is None:
            message = "The input file is not there any more."
            await claim.end("failed", errors=[{"code": "file_not_found", "message": message}])
            return STILL_SECONDS
        return await Step(self._gateway, claim, Principal.of(user), file).take()
