"""How predictions become terminal: one statement, whoever ends them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import TextClause, text

from db.states import Event, Status


class Ended(msgspec.Struct, frozen=True):
    """A prediction that has just become terminal, and who wants to hear of it.

    `output` is JSON as it was stored, unread; `waiter` is the channel on which a gateway waits for it,
    `webhook` the URL that the outbox now holds.
    """

    id: str
    status: Status
    output: msgspec.Raw | None
    error: str | None
    failure: str | None
    attempts: int
    started_at: datetime | None
    completed_at: datetime
    waiter: str | None
    webhook: str | None
    logs: str = ""
    metrics: dict[str, float | str] | None = None


def wants(event: str) -> str:
    """The SQL condition that the prediction `p` has its receiver told of an event, which is SQL itself."""
    return f"(p.webhook IS NOT NULL AND (p.webhook_events IS NULL OR {event} = ANY(p.webhook_events)))"


def ending(gone: str) -> TextClause:
    """The statement that ends what `gone` takes out of the queue.

    `gone` deletes from `queue` and returns (id, attempt, claimed_at, waiter, status, output, error,
    failure, logs, metrics). Only one deletion of a row can succeed, so a prediction ends once; its record and
    its webhook's outbox row are written in the same transaction. Where `logs` are null, they are what the
    lane has told of so far.
    """
    return text(
        f"""
        WITH gone AS ({gone}),
        ended AS (
            UPDATE predictions p
            SET status = g.status, output = g.output, error = g.error, failure = g.failure,
                attempts = g.attempt, started_at = g.claimed_at, completed_at = clock_timestamp(),
                metrics = g.metrics,
                logs = coalesce(g.logs, (
                    SELECT so_far.logs FROM partials so_far
                    WHERE so_far.id = g.id AND so_far.attempt = g.attempt
                ))
            FROM gone g WHERE p.id = g.id
            RETURNING p.id, p.status, p.error, p.failure, p.attempts,
                      p.started_at, p.completed_at, coalesce(p.logs, '') AS logs, p.metrics, g.waiter,
                      p.owner_id, CASE WHEN {wants(f"'{Event.COMPLETED}'")} THEN p.webhook END AS webhook
        ),
        told AS (
            INSERT INTO webhook_deliveries (prediction_id, owner_id, event, url)
            SELECT id, owner_id, '{Event.COMPLETED}', webhook FROM ended WHERE webhook IS NOT NULL
        )
        SELECT * FROM ended
        """
    )


def read_endings(rows: Iterable[Any], outputs: Mapping[str, str | None] | None = None) -> list[Ended]:
    """The rows, with names, that an `ending` statement returned; `outputs` are those that it was given.

    They may be long, so they do not come back from the database.
    """
    outputs = outputs or {}
    return [
        Ended(
            id=row.id,
            status=Status(row.status),
            output=_unread(outputs.get(row.id)),
            error=row.error,
            failure=row.failure,
            attempts=row.attempts,
            started_at=row.started_at,
            completed_at=row.completed_at,
            waiter=row.waiter,
            webhook=row.webhook,
            logs=row.logs,
            metrics=row.metrics,
        )
        for row in rows
    ]


def _unread(output: str | None) -> msgspec.Raw | None:
    return None if output is None else msgspec.Raw(output.encode())
