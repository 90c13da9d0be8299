"""What a request for a prediction means."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from api.backlog import BacklogFull
from api.credentials import Principal
from api.errors import Invalid, Unavailable
from api.logs import request_id
from api.schemas.predictions import PredictionCreate
from api.services.input_schema import Examined
from api.services.inputs import Taken, Upload, placed
from api.services.versions import ResolvedVersion
from db import submissions
from db.documents import PredictionRecord
from db.errors import NotFound
from db.ids import ID_LENGTH, new_id
from db.repositories import predictions
from db.repositories.keyset import Cursor
from db.repositories.transactions import read
from db.states import TERMINAL, Status
from db.submissions import Submission
from workers.addresses import ForbiddenUrl, check_url
from workers.messages import News, news_of

if TYPE_CHECKING:
    from api.gateway import Gateway

MAX_KEY_LENGTH = 255


async def create(
    gateway: Gateway,
    principal: Principal,
    body: PredictionCreate,
    *,
    uploads: Sequence[Upload] = (),
    key: str | None = None,
    wait_seconds: float | None = None,
) -> PredictionRecord:
    """Accept a prediction, durably; with `wait_seconds`, return when it has ended or they have passed.

    With a `key` that this caller has used before, the prediction that it stands for. Raises `Invalid`,
    `NotFound`, `BacklogFull`, `IdempotencyMismatch` and `Unavailable`; nothing is stored then.
    """
    version = await gateway.versions.resolve(_reference(body), principal)
    values = placed(body.input, uploads, version.validator) if uploads else body.input
    examined = version.validator.examine(values)
    _check(gateway, body, key)
    prediction_id = new_id()
    taken = await gateway.inputs.take(prediction_id, examined, uploads)
    submission = _submission(
        gateway,
        principal,
        version,
        examined,
        taken,
        body,
        id=prediction_id,
        key=key,
        waits=bool(wait_seconds),
    )
    try:
        gateway.backlog.admit(submission.pool, principal.id)
    except BacklogFull:
        known = await read(gateway.engine, lambda session: predictions.by_key(session, submission))
        if known is None:
            raise
        return await _replay(gateway, principal, known, wait_seconds)
    await gateway.inputs.store(taken)
    with gateway.waiting.expect(submission.id) as future:
        accepted = await gateway.intake.accept(submission)
        if accepted.replayed:
            await gateway.inputs.discard(submission.id, taken)
            return await _replay(gateway, principal, accepted.id, wait_seconds)
        record = _accepted(submission, version, taken.values)
        if not wait_seconds:
            return record
        return await _awaited(gateway, principal, record, future, wait_seconds)


def _submission(
    gateway: Gateway,
    principal: Principal,
    version: ResolvedVersion,
    examined: Examined,
    taken: Taken,
    body: PredictionCreate,
    *,
    id: str,
    key: str | None,
    waits: bool,
) -> Submission:
    text = _text(taken.values)
    identity = text if taken.identity is taken.values else _text(taken.identity)
    return Submission(
        id=id,
        owner_id=principal.id,
        version_id=version.version_id,
        model_id=version.model_id,
        pool=version.model_type,
        input=text,
        created_at=datetime.now(UTC),
        webhook=body.webhook,
        request_id=request_id.get(),
        waiter=gateway.waiting.channel if waits else None,
        deadline_seconds=gateway.settings.prediction_deadline_seconds,
        cost=examined.cost,
        idempotency_key=key,
        digest=_digest(version, identity, body.webhook) if key else None,
    )


async def get(gateway: Gateway, principal: Principal, prediction_id: str) -> PredictionRecord:
    """A prediction of the caller's own, or anybody's for administrators. Raises `NotFound`."""
    if len(prediction_id) != ID_LENGTH or not prediction_id.isalnum():
        raise _not_found(prediction_id)
    record = await read(gateway.engine, lambda session: predictions.by_id(session, prediction_id))
    if record is None or not (principal.is_admin or record.owner_id == principal.id):
        raise _not_found(prediction_id)
    return record


async def browse(
    gateway: Gateway, principal: Principal, *, limit: int, cursor: Cursor | None
) -> list[PredictionRecord]:
    """`limit` + 1 of the caller's predictions from the cursor outwards; of all for administrators."""
    owner_id = None if principal.is_admin else principal.id
    return await read(
        gateway.engine,
        lambda session: predictions.browse(session, owner_id=owner_id, limit=limit, cursor=cursor),
    )


async def cancel(gateway: Gateway, principal: Principal, prediction_id: str) -> PredictionRecord:
    """End a prediction as canceled, queued or running; one that has ended stays as it is.

    Raises `NotFound`.
    """
    record = await get(gateway, principal, prediction_id)
    ended = await submissions.cancel(gateway.engine, prediction_id)
    if ended is None:
        return record if record.status in TERMINAL else await get(gateway, principal, prediction_id)
    news = news_of(ended)
    if ended.waiter is not None:
        await gateway.waiting.tell(ended.waiter, news)
    return _with(record, news)


def _reference(body: PredictionCreate) -> str:
    given = {
        name: value for name in ("model_id", "version", "model") if (value := getattr(body, name)) is not None
    }
    if len(given) != 1:
        message = (
            "is required" if not given else f"says the same as {' and '.join(list(given)[1:])}: give one"
        )
        raise Invalid([(next(iter(given), "model"), message)])
    return str(next(iter(given.values())))


def _check(gateway: Gateway, body: PredictionCreate, key: str | None) -> None:
    if body.webhook is not None:
        try:
            check_url(body.webhook, gateway.settings.outbound_allow_cidrs)
        except ForbiddenUrl as error:
            raise Invalid([("webhook", str(error))]) from None
    if key is not None and not (0 < len(key) <= MAX_KEY_LENGTH and key.isprintable()):
        raise Invalid([("Idempotency-Key", f"must have 1 to {MAX_KEY_LENGTH} printable characters")])


def _text(values: dict[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False, allow_nan=False)


def _digest(version: ResolvedVersion, text: str, webhook: str | None) -> bytes:
    return sha256("\0".join((version.version_id, text, webhook or "")).encode()).digest()


def _accepted(
    submission: Submission, version: ResolvedVersion, values: dict[str, object]
) -> PredictionRecord:
    return PredictionRecord(
        id=submission.id,
        owner_id=submission.owner_id,
        model_id=submission.model_id,
        model=f"{version.owner}/{version.name}",
        version_id=submission.version_id,
        status=Status.STARTING,
        input=values,
        output=None,
        error=None,
        failure=None,
        webhook=submission.webhook,
        attempts=0,
        created_at=submission.created_at,
        started_at=None,
        completed_at=None,
    )


async def _replay(
    gateway: Gateway, principal: Principal, prediction_id: str, wait_seconds: float | None
) -> PredictionRecord:
    """The prediction that a key stands for; waited for as the first one was, if that is asked for."""
    with gateway.waiting.expect(prediction_id) as future:
        watched = wait_seconds is not None and await submissions.watch(
            gateway.engine, prediction_id, waiter=gateway.waiting.channel
        )
        record = await get(gateway, principal, prediction_id)
        if record.status in TERMINAL:
            # An end is durable, with all before it.
            return record
        if watched and wait_seconds is not None:
            return await _awaited(gateway, principal, record, future, wait_seconds)
        await gateway.intake.settle()
        return record


async def _awaited(
    gateway: Gateway,
    principal: Principal,
    record: PredictionRecord,
    future: asyncio.Future[News],
    seconds: float,
) -> PredictionRecord:
    """The prediction as it ended within `seconds`, else as it was, and then durable.

    Raises `Unavailable` when it is lost, or nobody can tell: its commit has not waited for the disk.
    """

    async def look() -> News | None:
        return _news_in(await get(gateway, principal, record.id))

    try:
        news = await gateway.waiting.news(future, look, seconds=seconds)
    except NotFound:
        raise Unavailable("the database has lost the prediction in a crash") from None
    if news is not None:
        return _with(record, news)
    await gateway.intake.settle()
    return record


def _with(record: PredictionRecord, news: News) -> PredictionRecord:
    return replace(
        record,
        status=news.status,
        output=news.output,
        error=news.error,
        failure=news.failure,
        attempts=news.attempts,
        started_at=news.started_at,
        completed_at=news.completed_at,
        progress=None,
    )


def _news_in(record: PredictionRecord) -> News | None:
    """The news that a row holds, once it has ended."""
    return None if record.completed_at is None else news_of(record)


def _not_found(prediction_id: str) -> NotFound:
    return NotFound(f"there is no prediction {prediction_id[:64]!r}")
