"""What a request for a prediction becomes: a submission to the queue, and the record that answers it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from api.credentials import Principal
from api.errors import Invalid
from api.logs import request_id
from api.schemas.predictions import PredictionCreate
from api.services.input_schema import Examined
from api.services.inputs import Taken, Upload
from api.services.retries import Attempt
from api.services.versions import ResolvedVersion
from db.documents import PredictionRecord
from db.ids import time_of
from db.states import Event, Priority, Status
from db.submissions import Submission
from workers.addresses import ForbiddenUrl, check_url

if TYPE_CHECKING:
    from api.gateway import Gateway

MAX_KEY_LENGTH = 255


@dataclass(frozen=True, slots=True)
class Via:
    """The deployment that a prediction comes through: `owner/name`, and the pool of its own lanes."""

    deployment: str
    pool: str


@dataclass(frozen=True, slots=True)
class Terms:
    """What a request says of a prediction beside its body.

    `attempt` is for clients that repeat requests without a key.
    `hold_seconds` is how long the answer may wait for the end, and `cancel_after` the client's own deadline.
    A `priority` other than the default lets others go first.
    `id` is what it is to be called, so that asking again changes nothing.
    With `is_bound` nobody but this request knows of it: it is canceled when the request is.
    """

    id: str | None = None
    key: str | None = None
    attempt: Attempt | None = None
    hold_seconds: float | None = None
    cancel_after: timedelta | None = None
    uploads: Sequence[Upload] = ()
    via: Via | None = None
    is_bound: bool = False
    priority: Priority = Priority.DEFAULT


def reference(body: PredictionCreate) -> str:
    """What the body names its version by. Raises `Invalid` unless there is exactly one such name."""
    given = {
        name: value for name in ("model_id", "version", "model") if (value := getattr(body, name)) is not None
    }
    if len(given) != 1:
        message = (
            "is required" if not given else f"says the same as {' and '.join(list(given)[1:])}: give one"
        )
        raise Invalid([(next(iter(given), "model"), message)])
    return str(next(iter(given.values())))


def check(gateway: Gateway, body: PredictionCreate, terms: Terms) -> None:
    """Raises `Invalid` for a webhook that may not be called, and for a key that cannot be kept."""
    if body.webhook is not None and body.webhook_completed is not None:
        raise Invalid([("webhook_completed", "says the same as webhook: give one")])
    for field in ("webhook", "webhook_completed"):
        url = getattr(body, field)
        if url is not None:
            try:
                check_url(url, gateway.settings.outbound_allow_cidrs)
            except ForbiddenUrl as error:
                raise Invalid([(field, str(error))]) from None
    if terms.key is not None and not (0 < len(terms.key) <= MAX_KEY_LENGTH and terms.key.isprintable()):
        raise Invalid([("Idempotency-Key", f"must have 1 to {MAX_KEY_LENGTH} printable characters")])


def pool_of(version: ResolvedVersion, terms: Terms) -> str:
    """Where it is to wait."""
    return terms.via.pool if terms.via else version.model_type


def submission(
    gateway: Gateway,
    principal: Principal,
    version: ResolvedVersion,
    examined: Examined,
    taken: Taken,
    body: PredictionCreate,
    terms: Terms,
    *,
    id: str,
) -> Submission:
    """What is to be stored and queued."""
    text = _text(taken.values)
    identity = text if taken.identity is taken.values else _text(taken.identity)
    # The id's time, by which lists are cut: what is shown must be what they go by.
    created_at = time_of(id)
    return Submission(
        id=id,
        owner_id=principal.id,
        version_id=version.version_id,
        model_id=version.model_id,
        pool=pool_of(version, terms),
        input=text,
        created_at=created_at,
        webhook=body.webhook or body.webhook_completed,
        webhook_events=_events(body),
        request_id=request_id.get(),
        waiter=gateway.waiting.channel if terms.hold_seconds else None,
        deadline_seconds=_deadline_seconds(gateway, terms),
        deadline_at=created_at + terms.cancel_after if terms.cancel_after else None,
        cost=examined.cost,
        priority=terms.priority,
        streams=_streams(body, version),
        deployment=terms.via.deployment if terms.via else None,
        idempotency_key=terms.key,
        digest=_digest(version, identity, body, terms.via) if terms.key else None,
    )


def accepted_record(
    submission: Submission, version: ResolvedVersion, values: dict[str, object], *, rank: float | None
) -> PredictionRecord:
    """The prediction as it is right after its submission was accepted."""
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
        deployment=submission.deployment,
        webhook_events=submission.webhook_events,
        deadline_at=submission.deadline_at,
        pool=submission.pool,
        rank=rank,
    )


def _deadline_seconds(gateway: Gateway, terms: Terms) -> float | None:
    """A batch has its own time, and its predictions are to wait until lanes are idle."""
    return None if terms.priority is Priority.BATCH else gateway.settings.prediction_deadline_seconds


def _events(body: PredictionCreate) -> Sequence[Event] | None:
    """What the webhook hears of; None for everything, which is what an empty filter lets through."""
    if body.webhook_completed is not None:
        return [Event.COMPLETED]
    if not body.webhook_events_filter:
        return None
    return [event for event in Event if event in body.webhook_events_filter]


def _streams(body: PredictionCreate, version: ResolvedVersion) -> bool:
    """Clients of Replicate name a version, and expect the texts of models that write them in chunks."""
    wanted = body.version is not None if body.stream is None else body.stream
    return wanted and version.info.gives_text


def _text(values: dict[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False, allow_nan=False)


def _digest(version: ResolvedVersion, text: str, body: PredictionCreate, via: Via | None) -> bytes:
    """What makes it this request and no other."""
    webhook = body.webhook or body.webhook_completed or ""
    events = ",".join(_events(body) or ())
    deployment = via.deployment if via else ""
    parts = (version.version_id, text, webhook, events, str(_streams(body, version)), deployment)
    return sha256("\0".join(parts).encode()).digest()
