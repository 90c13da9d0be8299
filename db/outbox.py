"""The webhooks' outbox: write what is to be told, take what is due, note what became of it. Sync; workers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Engine, text

from db.documents import RECORD_COLUMNS, RECORD_JOINS, PredictionRecord, read_record
from db.endings import wants
from db.states import Event

# Between two `output`s, or two `logs`, of one prediction.
SPACING_SECONDS = 0.5

# Of so many that are due, the next are chosen; what is due to busy receivers does not count.
_LOOKED_AT = 250


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event to be told now, for the `attempts`-th time.

    `receiver` is the URL's host and port. `secrets` are what it is signed with, the newest first; none
    where its owner has none yet. `is_unwanted` where the receiver has answered 410 to an earlier event.
    `prediction` is None when retention has dropped it.
    """

    id: str
    prediction_id: str
    owner_id: str
    event: str
    url: str
    receiver: str
    attempts: int
    secrets: Sequence[str]
    is_unwanted: bool
    prediction: PredictionRecord | None


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of one attempt: no `error`, or a sentence that says why it failed.

    `status` is the receiver's, None without an answer. `is_final` where another attempt makes no sense, and
    `retry_after_seconds` is what the receiver asks for.
    """

    error: str | None = None
    status: int | None = None
    milliseconds: int = 0
    is_final: bool = False
    retry_after_seconds: float = 0.0


# The row in `queue` is locked until the event is written, so none is written after the end; who is about to
# end passes first. Like claims, events on the way need not be durable.
_START = text(
    f"""
    INSERT INTO webhook_deliveries (prediction_id, owner_id, event, url)
    SELECT p.id, p.owner_id, '{Event.START}', p.webhook
    FROM queue q JOIN predictions p ON p.id = q.id
    WHERE q.id = ANY(CAST(:ids AS text[])) AND q.lane IS NOT NULL AND {wants(f"'{Event.START}'")}
      AND NOT EXISTS (
          SELECT 1 FROM webhook_deliveries d WHERE d.prediction_id = q.id AND d.event = '{Event.START}'
      )
    FOR KEY SHARE OF q SKIP LOCKED
    RETURNING set_config('synchronous_commit', 'off', true)
    """
)

# What is told is how things stand when it is sent, so one that waits to be told stands for all that follow.
_PARTIAL = text(
    f"""
    INSERT INTO webhook_deliveries (prediction_id, owner_id, event, url, next_attempt_at)
    SELECT p.id, p.owner_id, news.event, p.webhook,
           greatest(clock_timestamp(), last.attempted_at + make_interval(secs => {SPACING_SECONDS}))
    FROM unnest(CAST(:ids AS text[]), CAST(:attempts AS int[]), CAST(:events AS text[]))
         AS news(id, attempt, event)
    JOIN queue q ON q.id = news.id AND q.attempt = news.attempt AND q.lane IS NOT NULL
    JOIN predictions p ON p.id = q.id
    LEFT JOIN LATERAL (
        SELECT d.attempted_at, d.next_attempt_at FROM webhook_deliveries d
        WHERE d.prediction_id = q.id AND d.event = news.event ORDER BY d.id DESC LIMIT 1
    ) last ON true
    WHERE {wants("news.event")} AND last.next_attempt_at IS NULL
    FOR KEY SHARE OF q SKIP LOCKED
    RETURNING set_config('synchronous_commit', 'off', true)
    """
)

# A prediction's events are told one after the other. `completed` waits for `start` and for whatever is
# under way, but not for news that nobody has begun to tell. A window function and row locks do not go
# together, so the choice and the locks are two steps. What is taken need not be durable: were it lost in a
# crash of the database, the attempt would be made again.
_DUE = text(
    f"""
    WITH waiting AS (
        SELECT d.id, d.next_attempt_at, split_part(d.url, '/', 3) AS receiver,
               coalesce(busy.threads, 0) AS threads
        FROM webhook_deliveries d
        LEFT JOIN unnest(CAST(:receivers AS text[]), CAST(:threads AS int[])) AS busy(receiver, threads)
          ON busy.receiver = split_part(d.url, '/', 3)
        WHERE d.next_attempt_at <= now() AND coalesce(busy.threads, 0) < :per_receiver
          AND NOT EXISTS (
              SELECT 1 FROM webhook_deliveries other
              WHERE other.prediction_id = d.prediction_id AND other.next_attempt_at IS NOT NULL
                AND CASE WHEN other.event = '{Event.COMPLETED}' THEN false
                         WHEN d.event = '{Event.COMPLETED}'
                             THEN other.event = '{Event.START}' OR other.attempts > 0
                         ELSE other.id < d.id END
          )
        ORDER BY d.next_attempt_at LIMIT {_LOOKED_AT}
    ),
    chosen AS (
        SELECT *, threads + row_number() OVER (PARTITION BY receiver ORDER BY next_attempt_at) AS place
        FROM waiting
    ),
    locked AS (
        SELECT d.id, c.receiver FROM webhook_deliveries d JOIN chosen c USING (id)
        WHERE c.place <= :per_receiver AND d.next_attempt_at <= now()
        ORDER BY c.place, c.next_attempt_at LIMIT :limit FOR UPDATE OF d SKIP LOCKED
    ),
    taken AS (
        UPDATE webhook_deliveries d
        SET attempts = d.attempts + 1, attempted_at = clock_timestamp(),
            next_attempt_at = clock_timestamp() + make_interval(secs => :lease_seconds)
        FROM locked l WHERE d.id = l.id
        RETURNING d.id AS delivery_id, d.prediction_id, d.owner_id AS user_id, d.event, d.url, l.receiver,
                  d.attempts AS deliveries
    )
    SELECT t.*, {RECORD_COLUMNS},
           ARRAY(SELECT s.secret FROM webhook_secrets s
                 WHERE s.user_id = t.user_id AND (s.retires_at IS NULL OR s.retires_at > now())
                 ORDER BY s.created_at DESC) AS secrets,
           EXISTS (SELECT 1 FROM webhook_deliveries other
                   WHERE other.prediction_id = t.prediction_id AND other.id <> t.delivery_id
                     AND other.last_status = 410) AS is_unwanted,
           set_config('synchronous_commit', 'off', true)
    FROM taken t LEFT JOIN predictions p ON p.id = t.prediction_id {RECORD_JOINS}
    """
)

# Fenced by the attempt, so that one who was slower than its lease changes nothing.
_NOTE = text(
    """
    WITH noted AS (
        UPDATE webhook_deliveries
        SET next_attempt_at = clock_timestamp() + make_interval(secs => CAST(:retry_seconds AS float8)),
            delivered_at = CASE WHEN CAST(:error AS text) IS NULL THEN clock_timestamp()
                                ELSE delivered_at END,
            last_status = :status, last_error = :error
        WHERE id = :id AND attempts = :attempts AND next_attempt_at IS NOT NULL
        RETURNING id
    )
    INSERT INTO webhook_attempts (delivery_id, attempt, status, error, milliseconds)
    SELECT id, :attempts, :status, :error, :milliseconds FROM noted
    RETURNING delivery_id
    """
)

_DROP = text("DELETE FROM webhook_deliveries WHERE id = :id AND attempts = :attempts")


def note_started(engine: Engine, prediction_ids: Sequence[str]) -> None:
    """Have the receivers of these told that a lane has begun; once, however often one begins."""
    with engine.connect() as connection:
        connection.execute(_START, {"ids": list(prediction_ids)})


def note_partial(engine: Engine, news: Sequence[tuple[str, int, Sequence[str]]]) -> None:
    """Have receivers told what runs has come to: (prediction, attempt, `output` and `logs` as they changed).

    While one of its kind waits to be told nothing is written; else it is due half a second after the last.
    """
    rows = [(prediction_id, attempt, event) for prediction_id, attempt, events in news for event in events]
    parameters = {
        "ids": [prediction_id for prediction_id, _, _ in rows],
        "attempts": [attempt for _, attempt, _ in rows],
        "events": [event for _, _, event in rows],
    }
    with engine.connect() as connection:
        connection.execute(_PARTIAL, parameters)


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
                id=row.delivery_id,
                prediction_id=row.prediction_id,
                owner_id=row.user_id,
                event=row.event,
                url=row.url,
                receiver=row.receiver,
                attempts=row.deliveries,
                secrets=row.secrets,
                is_unwanted=row.is_unwanted,
                prediction=None if row.id is None else read_record(row),
            )
            for row in connection.execute(_DUE, parameters)
        ]


def delivered(engine: Engine, delivery: Delivery, attempt: Attempt) -> bool:
    """It has been told. False when another attempt has begun meanwhile."""
    return _note(engine, delivery, attempt, retry_seconds=None)


def failed(engine: Engine, delivery: Delivery, attempt: Attempt, *, retry_seconds: float | None) -> bool:
    """It could not be told: to be tried again in `retry_seconds`, or never. False as in `delivered`."""
    return _note(engine, delivery, attempt, retry_seconds=retry_seconds)


def drop(engine: Engine, delivery: Delivery) -> None:
    """It is not worth telling any more."""
    with engine.connect() as connection:
        connection.execute(_DROP, {"id": delivery.id, "attempts": delivery.attempts})


def _note(engine: Engine, delivery: Delivery, attempt: Attempt, *, retry_seconds: float | None) -> bool:
    parameters = {
        "id": delivery.id,
        "attempts": delivery.attempts,
        "status": attempt.status,
        "error": attempt.error,
        "milliseconds": attempt.milliseconds,
        "retry_seconds": retry_seconds,
    }
    with engine.connect() as connection:
        return connection.execute(_NOTE, parameters).first() is not None
