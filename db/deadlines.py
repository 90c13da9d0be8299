"""Predictions whose deadline has passed end here, queued or running. Sync; steward only."""

from sqlalchemy import Engine

from db.endings import Ended, ending, read_endings
from db.states import FailureCode, Status

_EXPIRE = ending(
    """
    DELETE FROM queue WHERE id IN (
        SELECT id FROM queue WHERE deadline_at < now() ORDER BY deadline_at LIMIT :limit
        FOR UPDATE SKIP LOCKED
    )
    RETURNING id, attempt, claimed_at, waiter, CAST(:status AS text) AS status, CAST(NULL AS json) AS output,
              CAST(:error AS text) AS error, CAST(:failure AS text) AS failure, CAST(NULL AS text) AS logs
    """
)


def expire(engine: Engine, *, limit: int = 1000) -> list[Ended]:
    """Fail up to `limit` predictions that are past their deadline, by the database's clock."""
    parameters = {
        "limit": limit,
        "status": Status.FAILED.value,
        "error": "The deadline passed before the prediction was finished.",
        "failure": FailureCode.DEADLINE_EXCEEDED.value,
    }
    with engine.connect() as connection:
        return read_endings(connection.execute(_EXPIRE, parameters))
