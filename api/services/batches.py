"""What a request for a batch means: a row, whose steps some gateway takes from then on."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from api.credentials import Principal
from api.errors import Invalid, TooManyRequests
from api.services import files
from db.errors import NotFound
from db.ids import new_id
from db.repositories import batches
from db.repositories.keyset import Cursor
from db.repositories.transactions import read, write
from db.tables import Batch

if TYPE_CHECKING:
    from api.gateway import Gateway

COMPLETION_WINDOW = timedelta(hours=24)


class TooManyBatches(TooManyRequests):
    """As many batches as may be of one user have not ended."""


async def create(
    gateway: Gateway,
    principal: Principal,
    *,
    input_file_id: str,
    endpoint: str,
    metadata: Mapping[str, str] | None,
    output_seconds: int | None,
) -> Batch:
    """Accept a batch, durably. Raises `Invalid` for its file, and `TooManyBatches`."""
    await _check_file(gateway, principal, input_file_id)
    most, now = gateway.settings.batches_per_user, datetime.now(UTC)
    batch = Batch(
        id=new_id(),
        owner_id=principal.id,
        endpoint=endpoint,
        input_file_id=input_file_id,
        details=None if metadata is None else dict(metadata),
        output_seconds=output_seconds,
        created_at=now,
        expires_at=now + COMPLETION_WINDOW,
        due_at=now,
    )
    async with write(gateway.engine) as session:
        if await batches.count_unended(session, principal.id) >= most:
            raise TooManyBatches(f"{most} batches of yours have not ended")
        await batches.add(session, batch)
    gateway.batch_added.set()
    return batch


async def _check_file(gateway: Gateway, principal: Principal, file_id: str) -> None:
    try:
        file = await files.get(gateway, principal, file_id)
    except NotFound:
        raise Invalid([("input_file_id", "is no file of yours")]) from None
    if file.purpose != "batch":
        raise Invalid([("input_file_id", "is a file that was not uploaded for the purpose `batch`")])


async def get(gateway: Gateway, principal: Principal, batch_id: str) -> Batch:
    """A batch of the caller's own. Raises `NotFound`."""
    batch = await read(gateway.engine, lambda session: batches.by_id(session, principal.id, batch_id))
    if batch is None:
        raise NotFound(f"there is no batch {batch_id[:64]!r}")
    return batch


async def browse(gateway: Gateway, principal: Principal, *, limit: int, cursor: Cursor | None) -> list[Batch]:
    """`limit` + 1 of the caller's batches from the cursor on."""
    return await read(
        gateway.engine,
        lambda session: batches.browse(session, principal.id, limit=limit, cursor=cursor),
    )


async def cancel(gateway: Gateway, principal: Principal, batch_id: str) -> Batch:
    """Have a batch end as cancelled, with the answers that there are.

    Raises `NotFound`, and `Invalid` for one that has ended or is about to.
    """
    await get(gateway, principal, batch_id)
    async with write(gateway.engine) as session:
        is_cancelling = await batches.begin_cancelling(session, batch_id)
    batch = await get(gateway, principal, batch_id)
    if not is_cancelling and batch.status != "cancelling":
        raise Invalid([("batch_id", f"is of a batch that cannot be cancelled: it is {batch.status}")])
    return batch
