"""What a stream of a prediction needs to know of it. Async; the gateway only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from db.states import TERMINAL


@dataclass(frozen=True, slots=True)
class StreamState:
    """A prediction now. While it runs, `output` and `logs` are what its lane has told of.

    `attempt` is the present one, or the next one while it waits. `output` is null too where its data has
    been removed. `model_type` is null once its version is deleted.
    """

    status: str
    attempt: int
    output: Any
    logs: str
    error: str | None
    model_type: str | None

    @property
    def has_ended(self) -> bool:
        return self.status in TERMINAL


_STATE = text(
    """
    SELECT p.status, coalesce(q.attempt + CASE WHEN q.lane IS NULL THEN 1 ELSE 0 END, p.attempts) AS attempt,
           coalesce(p.output, so_far.output) AS output, coalesce(p.logs, so_far.logs, '') AS logs, p.error,
           v.model_type
    FROM predictions p
    LEFT JOIN queue q ON q.id = p.id
    LEFT JOIN partials so_far ON so_far.id = q.id AND so_far.attempt = q.attempt AND q.lane IS NOT NULL
    LEFT JOIN model_versions v ON v.id = p.version_id
    WHERE p.id = :id
    """
)


async def state_of(session: AsyncSession, prediction_id: str) -> StreamState | None:
    """The state of this prediction; None where it does not exist (any more)."""
    row = (await session.execute(_STATE, {"id": prediction_id})).first()
    return None if row is None else StreamState(*row)
