"""What running predictions have come to: told to the database, and to webhooks that want to hear of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from sqlalchemy import Engine

from db import outbox, partials
from db.partials import Partial
from db.states import Event
from workers.jobs import Job
from workers.work import Work

# Between two looks at what runs.
LOOK_SECONDS = 0.5
# What nobody has asked to hear of is written once it has run for so long.
PATIENCE_SECONDS = 0.5


class PartialReporter:
    """Writes of whom there is something new since it looked last, in one statement."""

    def __init__(self, engine: Engine, clock: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine
        self._clock = clock
        self._looked_at = clock()
        # By prediction: how much of its output and of its logs has been written.
        self._written: dict[str, tuple[int, int]] = {}

    def report(self, work: Work | None) -> None:
        """Look, unless that was less than half a second ago. Raises `SQLAlchemyError`."""
        now = self._clock()
        if now - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = now
        if work is None:
            self._written.clear()
            return
        due = [job for job in work.jobs() if _is_due(job, now)]
        self._tell(due, {lease.id: share for lease, share in work.progress()})

    def _tell(self, jobs: Iterable[Job], shares: dict[str, float]) -> None:
        written = {}
        changed: list[Partial] = []
        news: list[tuple[str, int, list[str]]] = []
        for job in jobs:
            lease = job.lease
            if lease.id in shares:
                job.note_progress(shares[lease.id])
            before, after = self._written.get(lease.id, (0, 0)), job.state()
            written[lease.id] = after
            if before != after:
                changed.append(Partial(lease, *job.so_far()))
            events = [
                event
                for event, old, new in zip((Event.OUTPUT, Event.LOGS), before, after, strict=True)
                if old != new and event in lease.webhook_events
            ]
            if events:
                news.append((lease.id, lease.attempt, [str(event) for event in events]))
        if changed:
            partials.note(self._engine, changed)
        if news:
            outbox.note_partial(self._engine, news)
        self._written = written


def _is_due(job: Job, now: float) -> bool:
    return job.is_awaited or now - job.began_at >= PATIENCE_SECONDS
