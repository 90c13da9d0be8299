"""The webhooks' outbox: take what is due, and note what became of it. Sync; steward only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Engine, text

from db.documents import RECORD_COLUMNS, RECORD_JOINS, PredictionRecord, read_record

# Of so many that are due, the next are chosen; what is due to busy receivers does not count.
_LOOKED_AT = 1000


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event to be told now, for the `attempts`-th time.

    `receiver` is the URL's host and port. `prediction` is None when retention has dropped it.
    """

    prediction_id: str
    event: str
    url: str
    receiver: str
    attempts: int
    prediction: PredictionRecord | None


# A window function and row locks do not go together, so the choice and the locks are two steps. What is
# taken need not be durable: were it lost in a crash of the database, the attempt would be made again.
_DUE = text(
    f"""
    WITH waiting AS (
        SELECT d.prediction_id, d.event, d.next_attempt_at, split_part(d.url, '/', 3) AS receiver,
               coalesce(busy.threads, 0) AS threads
        FROM webhook_deliveries d
        LEFT JOIN unnest(CAST(:receivers AS text[]), CAST(:threads AS int[])) AS busy(receiver, threads)
          ON busy.receiver = split_part(d.url, '/', 3)
        WHERE d.next_attempt_at <= now() AND coalesce(busy.threads, 0) < :per_receiver
        ORDER BY d.next_attempt_at LIMIT {_LOOKED_AT}
    ),
    chosen AS (
        SELECT *, threads + row_number() OVER (PARTITION BY receiver ORDER BY next_attempt_at) AS place
        FROM waiting
    ),
    locked AS (
        SELECT d.prediction_id, d.event, c.receiver FROM webhook_deliveries d
        JOIN chosen c USING (prediction_id, event)
        WHERE c.place <= :per_receiver AND d.next_attempt_at <= now()
        ORDER BY c.place, c.next_attempt_at LIMIT :limit FOR UPDATE OF d SKIP LOCKED
    ),
    taken AS (
        UPDATE webhook_deliveries d
        SET attempts = d.attempts + 1,
            next_attempt_at = clock_timestamp() + make_interval(secs => :lease_seconds)
        FROM locked l WHERE d.prediction_id = l.prediction_id AND d.event = l.event
        RETURNING d.prediction_id, d.event, d.url, l.receiver, d.attempts AS deliveries
    )
    SELECT t.*, {RECORD_COLUMNS}, set_config('synchronous_commit', 'off', true)
    FROM taken t LEFT JOIN predictions p ON p.id = t.prediction_id {RECORD_JOINS}
    """
)

# Fenced by the attempt, so that one who was slower than its lease changes nothing.
_DELIVERED = text(
    """
    UPDATE webhook_deliveries
    SET delivered_at = clock_timestamp(), next_attempt_at = NULL, last_status = :status, last_error = NULL
    WHERE prediction_id = :prediction_id AND event = :event AND attempts = :attempts
      AND next_attempt_at IS NOT NULL
    RETURNING prediction_id
    """
)

_FAILED = text(
    """
    UPDATE webhook_deliveries
    SET next_attempt_at = clock_timestamp() + make_interval(secs => CAST(:retry_seconds AS float8)),
        last_status = :status, last_error = :error
    WHERE prediction_id = :prediction_id AND event = :event AND attempts = :attempts
      AND next_attempt_at IS NOT NULL
    RETURNING prediction_id
    """
)


def due(
    engine: Engine, *, limit: int, per_receiver: int, busy: Mapping[str, int], lease_seconds: float
) -> list[Delivery]:
    """Take up to `limit` deliveries that are due, so that no receiver has more than `per_receiver`.

    `busy` counts those that a receiver has under way. What is taken is due again after `lease_seconds`,
    should its fate never be noted.
    """
    parameters = {
        "limit": limit,
        "per_receiver": per_receiver,
        "receivers": list(busy),
        "threads": list(busy.values()),
        "lease_seconds": lease_seconds,
    }
    with engine.connect() as connection:
        return [
            Delivery(
                prediction_id=row.prediction_id,
                event=row.event,
                url=row.url,
                receiver=row.receiver,
                attempts=row.deliveries,
                prediction=None if row.id is None else read_record(row),
            )
            for row in connection.execute(_DUE, parameters)
        ]


def delivered(engine: Engine, delivery: Delivery, *, status: int) -> bool:
    """It has been told. False when another attempt has begun meanwhile."""
    with engine.connect() as connection:
        return connection.execute(_DELIVERED, _parameters(delivery, status=status)).first() is not None


def failed(
    engine: Engine, delivery: Delivery, *, error: str, status: int | None, retry_seconds: float | None
) -> bool:
    """It could not be told: to be tried again in `retry_seconds`, or never. False as in `delivered`."""
    parameters = _parameters(delivery, status=status, error=error, retry_seconds=retry_seconds)
    with engine.connect() as connection:
        return connection.execute(_FAILED, parameters).first() is not None


def _parameters(delivery: Delivery, **noted: object) -> dict[str, object]:
    return {
        "prediction_id": delivery.prediction_id,
        "event": delivery.event,
        "attempts": delivery.attempts,
        **noted,
    }
