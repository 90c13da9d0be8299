"""Predictions whose deadline has passed end here, queued or running. Sync; steward only."""

from sqlalchemy import Engine

from db.endings import Ended, ending, read_endings
from db.states import FailureCode, Status

# Whose own deadline (Cancel-After) has passed has called it off; the server's is a failure.
_EXPIRE = ending(
    """
    DELETE FROM queue q WHERE id IN (
        SELECT id FROM queue WHERE deadline_at < now() ORDER BY deadline_at LIMIT :limit
        FOR UPDATE SKIP LOCKED
    )
    RETURNING q.id, q.attempt, q.claimed_at, q.waiter,
              CASE WHEN (SELECT p.deadline_at FROM predictions p WHERE p.id = q.id) < now()
                   THEN :canceled ELSE :failed END AS status,
              CAST(NULL AS json) AS output, CAST(:error AS text) AS error, CAST(:failure AS text) AS failure,
              CAST(NULL AS text) AS logs, CAST(NULL AS json) AS metrics
    """
)


def expire(engine: Engine, *, limit: int = 1000) -> list[Ended]:
    """End up to `limit` predictions that are past their deadline, by the database's clock.

    Those are canceled whose client has set the deadline; the others fail.
    """
    parameters = {
        "limit": limit,
        "canceled": Status.CANCELED.value,
        "failed": Status.FAILED.value,
        "error": "The deadline passed before the prediction was finished.",
        "failure": FailureCode.DEADLINE_EXCEEDED.value,
    }
    with engine.connect() as connection:
        return read_endings(connection.execute(_EXPIRE, parameters))
