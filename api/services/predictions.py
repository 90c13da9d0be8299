"""What a request for a prediction means."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from api.backlog import BacklogFull
from api.credentials import Principal
from api.errors import Invalid, PaymentRequired, Unavailable
from api.schemas.predictions import PredictionCreate
from api.services import retries, submitting
from api.services.inputs import Taken, placed
from api.services.submitting import Terms
from api.services.versions import ResolvedVersion
from db import submissions
from db.documents import PredictionRecord
from db.errors import NotFound
from db.ids import ID_LENGTH, new_id
from db.repositories import predictions
from db.repositories.keyset import Cursor
from db.repositories.predictions import Filters
from db.repositories.transactions import read
from db.states import TERMINAL
from db.submissions import Submission
from workers.messages import News, news_of

if TYPE_CHECKING:
    from api.gateway import Gateway

_CLIENTS_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


async def create(
    gateway: Gateway, principal: Principal, body: PredictionCreate, terms: Terms
) -> PredictionRecord:
    """Accept a prediction, durably; with `hold_seconds`, return when it has ended or they have passed.

    With a key that this caller has used before, the prediction that it stands for. Raises `Invalid`,
    `NotFound`, `PaymentRequired`, `BacklogFull`, `IdempotencyMismatch` and `Unavailable`; nothing is stored
    then.
    """
    if terms.attempt is not None:
        repeated = await retries.earlier(gateway.engine, principal.id, terms.attempt)
        if repeated is not None:
            return await _replay(gateway, principal, repeated, terms)
        terms = replace(terms, key=terms.attempt.key)
    version = await gateway.versions.resolve(submitting.reference(body), principal)
    if terms.key is None:
        # Without a key it cannot stand for a prediction that is there: refuse before more is done for it.
        gateway.backlog.require_room(submitting.pool_of(version, terms), principal.id, terms.priority)
    values = placed(body.input, terms.uploads, version.validator) if terms.uploads else body.input
    examined = version.validator.examine(values)
    submitting.check(gateway, body, terms)
    prediction_id = terms.id or new_id()
    taken = await gateway.inputs.take(prediction_id, examined, terms.uploads, owner_id=principal.id)
    submission = submitting.submission(
        gateway, principal, version, examined, taken, body, terms, id=prediction_id
    )
    try:
        await gateway.quotas.admit(principal)
        gateway.backlog.admit(submission.pool, principal.id, submission.priority)
    except (BacklogFull, PaymentRequired):
        known = await read(gateway.engine, lambda session: predictions.by_key(session, submission))
        if known is None:
            raise
        return await _replay(gateway, principal, known, terms)
    await gateway.inputs.store(taken)
    try:
        return await _accepted(gateway, principal, submission, version, taken, terms)
    except asyncio.CancelledError:
        if terms.is_bound:
            await _abandon(gateway, submission.id)
        raise


async def _accepted(
    gateway: Gateway,
    principal: Principal,
    submission: Submission,
    version: ResolvedVersion,
    taken: Taken,
    terms: Terms,
) -> PredictionRecord:
    with gateway.waiting.expect(submission.id) as future:
        accepted = await gateway.intake.accept(submission)
        if accepted.replayed:
            await gateway.inputs.discard(submission.id, taken)
            return await _replay(gateway, principal, accepted.id, terms)
        record = submitting.accepted_record(submission, version, taken.values, rank=accepted.rank)
        if not terms.hold_seconds:
            return record
        return await _awaited(gateway, principal, record, future, terms)


async def _abandon(gateway: Gateway, prediction_id: str) -> None:
    """Cancel what nobody waits for any more; it may be on its way into the database still."""
    await gateway.intake.settle()
    await submissions.cancel(gateway.engine, prediction_id)


async def version_of(gateway: Gateway, principal: Principal, model: str, version: str | None) -> str:
    """The reference of a model's version, or of its latest one. `model` is `owner/name`.

    Raises `NotFound` for the model, and `Invalid` for a version that is not one of its own.
    """
    await gateway.versions.resolve(model, principal)
    if version is None:
        return model
    reference = f"{model}:{version.rpartition(':')[2]}"
    try:
        await gateway.versions.resolve(reference, principal)
    except NotFound:
        raise Invalid([("version", f"is not one of {model}'s")]) from None
    return reference


def key_of(prediction_id: str) -> str:
    """The idempotency key behind an id of the client's own. Raises `Invalid`."""
    if _CLIENTS_ID.fullmatch(prediction_id) is None:
        raise Invalid([("prediction_id", "must have 1 to 64 letters, digits, `-`, `_` or `.`")])
    return f"put:{prediction_id}"


async def get(gateway: Gateway, principal: Principal, prediction_id: str) -> PredictionRecord:
    """A prediction of the caller's own, or anybody's for administrators, also by the id that a PUT gave it.

    Raises `NotFound`.
    """
    record = await read(gateway.engine, lambda session: _find(session, principal, prediction_id))
    if record is None or not (principal.is_admin or record.owner_id == principal.id):
        raise _not_found(prediction_id)
    return record


async def _find(session: AsyncSession, principal: Principal, prediction_id: str) -> PredictionRecord | None:
    if _CLIENTS_ID.fullmatch(prediction_id) is None:
        return None
    if len(prediction_id) == ID_LENGTH:
        record = await predictions.by_id(session, prediction_id)
        if record is not None:
            return record
    return await predictions.by_key_alone(session, principal.id, key_of(prediction_id))


async def browse(
    gateway: Gateway, principal: Principal, filters: Filters, *, limit: int, cursor: Cursor | None
) -> list[PredictionRecord]:
    """`limit` + 1 of the caller's predictions from the cursor outwards; of all for administrators."""
    own = filters if principal.is_admin else replace(filters, owner_id=principal.id)
    return await read(
        gateway.engine, lambda session: predictions.browse(session, own, limit=limit, cursor=cursor)
    )


async def cancel(gateway: Gateway, principal: Principal, prediction_id: str) -> PredictionRecord:
    """End a prediction as canceled, queued or running; one that has ended stays as it is.

    Raises `NotFound`.
    """
    record = await get(gateway, principal, prediction_id)
    ended = await submissions.cancel(gateway.engine, record.id)
    if ended is None:
        return record if record.status in TERMINAL else await get(gateway, principal, record.id)
    news = news_of(ended)
    if ended.waiter is not None:
        await gateway.waiting.tell(ended.waiter, news)
    return _with(record, news)


async def _replay(
    gateway: Gateway, principal: Principal, prediction_id: str, terms: Terms
) -> PredictionRecord:
    """The prediction that a key stands for; waited for as the first one was, if that is asked for."""
    with gateway.waiting.expect(prediction_id) as future:
        watched = terms.hold_seconds is not None and await submissions.watch(
            gateway.engine, prediction_id, waiter=gateway.waiting.channel
        )
        record = await get(gateway, principal, prediction_id)
        if record.status in TERMINAL:
            # An end is durable, with all before it.
            return record
        if watched and not watched.is_claimed:
            gateway.bells.ring([watched.pool])
        if watched:
            return await _awaited(gateway, principal, record, future, terms)
        await gateway.intake.settle()
        return record


async def _awaited(
    gateway: Gateway,
    principal: Principal,
    record: PredictionRecord,
    future: asyncio.Future[News],
    terms: Terms,
) -> PredictionRecord:
    """The prediction as it ended while the caller waits, else as it was, and then durable.

    A gateway that stops lets nobody wait who can ask for it elsewhere later. Raises `Unavailable` when it
    is lost, or nobody can tell: its commit has not waited for the disk.
    """

    async def look() -> News | None:
        return _news_in(await get(gateway, principal, record.id))

    try:
        seconds = terms.hold_seconds or 0.0
        news = await gateway.waiting.news(future, look, seconds=seconds, may_be_cut=not terms.is_bound)
    except NotFound:
        raise Unavailable("the database has lost the prediction in a crash") from None
    if news is not None:
        return _with(record, news)
    await gateway.intake.settle()
    return record


def _with(record: PredictionRecord, news: News) -> PredictionRecord:
    return msgspec.structs.replace(
        record,
        status=news.status,
        output=news.output,
        error=news.error,
        failure=news.failure,
        attempts=news.attempts,
        started_at=news.started_at,
        completed_at=news.completed_at,
        logs=news.logs,
        metrics=news.metrics,
        progress=None,
        pool=None,
        rank=None,
    )


def _news_in(record: PredictionRecord) -> News | None:
    """The news that a row holds, once it has ended."""
    return None if record.completed_at is None else news_of(record)


def _not_found(prediction_id: str) -> NotFound:
    return NotFound(f"there is no prediction {prediction_id[:64]!r}")
