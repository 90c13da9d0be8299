"""Celery events for each prediction, so that Flower shows its model, state, runtime and worker.

They are for the eye: sending one never raises. A switch (`TASK_EVENTS`), since they cost about a third of
a lane's message rate.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from typing import Protocol

from celery import Celery
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from db.leases import Lease, Outcome
from db.states import Status
from model_types.base import VersionSpec
from model_types.batching import Pass

logger = logging.getLogger(__name__)


class Observer(Protocol):
    """Somebody who looks on while predictions run."""

    def began(self, spec: VersionSpec, leases: Iterable[Lease]) -> None:
        """These have joined a session of this version."""

    def stepped(self, spec: VersionSpec, passes: Iterable[Pass], outcomes: Sequence[Outcome]) -> None:
        """The session has moved on by these passes, and these have left it."""

    def ended(self, outcomes: Sequence[Outcome]) -> None:
        """These are stored."""


class Observers:
    """Several who look on; none where there are none."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def began(self, spec: VersionSpec, leases: Iterable[Lease]) -> None:
        """Tell each of them."""
        for observer in self._observers:
            observer.began(spec, leases)

    def stepped(self, spec: VersionSpec, passes: Iterable[Pass], outcomes: Sequence[Outcome]) -> None:
        """Tell each of them."""
        for observer in self._observers:
            observer.stepped(spec, passes, outcomes)

    def ended(self, outcomes: Sequence[Outcome]) -> None:
        """Tell each of them."""
        for observer in self._observers:
            observer.ended(outcomes)


class TaskEvents:
    """Tells Celery's monitors of predictions in the words they know: a prediction is a task by its model."""

    def __init__(self, app: Celery, hostname: str) -> None:
        self._dispatcher = app.events.Dispatcher(
            app.connection_for_write(), hostname=hostname, buffer_while_offline=False
        )

    def began(self, spec: VersionSpec, leases: Iterable[Lease]) -> None:
        """A prediction is received and started at once: it waited in a table, not in a worker."""
        for lease in leases:
            names = {"name": spec.model, "args": f"({lease.id!r},)", "kwargs": f"{{'version': {spec.id!r}}}"}
            self._send("task-received", lease, retries=lease.attempt - 1, eta=None, expires=None, **names)
            self._send("task-started", lease)

    def stepped(self, spec: VersionSpec, passes: Iterable[Pass], outcomes: Sequence[Outcome]) -> None:
        """Celery knows no passes."""

    def ended(self, outcomes: Sequence[Outcome]) -> None:
        """Succeeded with its runtime in seconds, or failed with its sentence."""
        for outcome in outcomes:
            if outcome.status is Status.SUCCEEDED:
                runtime = time.time() - outcome.lease.claimed_at.timestamp()
                self._send("task-succeeded", outcome.lease, runtime=runtime, result="")
            else:
                self._send("task-failed", outcome.lease, exception=outcome.error or "", traceback="")

    def _send(self, event: str, lease: Lease, **fields: object) -> None:
        try:
            self._dispatcher.send(event, uuid=lease.id, **fields)
        except (OperationalError, RedisError, OSError) as error:
            logger.warning("a task event could not be sent: %s", error)
