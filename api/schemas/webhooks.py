"""Webhooks' keys and deliveries on the wire."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from pydantic import BaseModel, Field

from api.schemas.fields import Moment
from db.repositories.webhooks import DeliveryStatus
from db.states import Event
from db.tables import WebhookAttempt, WebhookDelivery


class SigningKey(BaseModel):
    """What webhooks are signed with (Standard Webhooks): whsec_ and base64."""

    key: str = Field(examples=["whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oDazfkZ7Gx5Vg="])


class RotatedKey(SigningKey):
    """The new key, and until when the old one signs beside it: null where there was none."""

    previous_retires_at: Moment | None


class Delivery(BaseModel):
    """One event of one prediction, for one receiver."""

    id: str = Field(description="The webhook-id header, the same in every attempt.")
    prediction_id: str
    event: Event
    url: str
    status: DeliveryStatus
    attempts: int = Field(description="How often it has been tried, the attempt under way included.")
    last_status: int | None = Field(description="What the receiver answered last; null: nothing.")
    last_error: str | None = Field(description="Why the last attempt failed.")
    created_at: Moment
    attempted_at: Moment | None = Field(description="When the last attempt began.")
    next_attempt_at: Moment | None = Field(description="Not before then, while it is pending.")
    delivered_at: Moment | None

    @classmethod
    def of(cls, row: WebhookDelivery) -> Self:
        return cls(
            id=row.id,
            prediction_id=row.prediction_id,
            event=Event(row.event),
            url=row.url,
            status=_status(row),
            attempts=row.attempts,
            last_status=row.last_status,
            last_error=row.last_error,
            created_at=row.created_at,
            attempted_at=row.attempted_at,
            next_attempt_at=row.next_attempt_at,
            delivered_at=row.delivered_at,
        )


def _status(row: WebhookDelivery) -> DeliveryStatus:
    if row.next_attempt_at is not None:
        return "pending"
    return "failed" if row.delivered_at is None else "delivered"


class Attempt(BaseModel):
    """One request to the receiver, and what came of it."""

    attempt: int = Field(description="Its number, from 1 on.")
    status: int | None = Field(description="What the receiver answered; null: nothing.")
    error: str | None = Field(description="Why it failed; null: it did not.")
    milliseconds: int = Field(description="How long it took.")
    created_at: Moment = Field(description="When it was over.")

    @classmethod
    def of(cls, row: WebhookAttempt) -> Self:
        return cls(
            attempt=row.attempt,
            status=row.status,
            error=row.error,
            milliseconds=row.milliseconds,
            created_at=row.created_at,
        )


class DeliveryLog(Delivery):
    """A delivery with all of its attempts that are over, the first one first."""

    log: list[Attempt]

    @classmethod
    def with_attempts(cls, row: WebhookDelivery, attempts: Sequence[WebhookAttempt]) -> Self:
        return cls(**Delivery.of(row).model_dump(), log=[Attempt.of(attempt) for attempt in attempts])


class DeliveryPage(BaseModel):
    """A page of deliveries, the newest first."""

    results: list[Delivery]
    next: str | None
    previous: str | None
