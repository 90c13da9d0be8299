"""What a lane does with predictions: choose a version, claim, finish, give back. Sync; workers only.

A lease is fenced by lane and attempt: when either has changed, whatever the lane still does with the
prediction changes nothing. A cancelled or expired prediction has left the queue, so its lease is void too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from psycopg import Cursor
from sqlalchemy import Engine, text

from db import instances
from db.blobs import Blob
from db.endings import Ended, ending, read_endings
from db.pools import deployment_pools, is_deployment
from db.session import Driver, driver_sql
from db.states import Event, Priority, Status
from db.tables.queue_entry import PRIORITY_STEP
from db.waiting import WAITING, WaitingVersion


class Lease(msgspec.Struct, frozen=True):
    """A lane's claim on one prediction, and what the model needs of it.

    `losses` counts the lanes that died with it; such a prediction runs alone. `cost` is what it takes of
    a session's budget, in the model type's unit. `streams` asks for a text as the list of its chunks,
    `listened` says that somebody reads its stream already, and `webhook_events` are what its webhook wants
    to hear of: none where it has no webhook. `backfill` is batch work.
    """

    id: str
    lane: str
    attempt: int
    losses: int
    cost: int
    input: dict[str, Any]
    owner_id: str
    request_id: str | None
    claimed_at: datetime
    streams: bool = False
    listened: bool = False
    webhook_events: frozenset[str] = frozenset()
    backfill: bool = False


@dataclass(frozen=True, slots=True)
class Claim:
    """The leases that one claim brought, in rank order, and whether more were waiting."""

    leases: Sequence[Lease]
    more: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a leased prediction: its output as JSON text, or the failure's sentence and code.

    `files` are what the output refers to; they are stored before it is. `logs` are what it has printed; None
    leaves them as far as they have been told. `metrics` are what the model has measured.
    """

    lease: Lease
    status: Status
    output: str | None = None
    error: str | None = None
    failure: str | None = None
    files: Sequence[Blob] = ()
    logs: str | None = None
    metrics: Mapping[str, float | str] | None = None


# In rank order up to the limit and the budget, batch work apart from other work where that is asked for, so
# that neither makes the other's batch longer; what a lane died with goes alone (quarantine). The lane's
# row is locked, so a lane that has been declared dead claims nothing. A claim need not be durable: were
# it lost in a crash of the database, the prediction would be waiting again and the lease void. That is set
# with the lock, for it alone makes the commit wait for the disk, also where there is nothing to claim.
_CLAIM = text(
    """
    WITH me AS MATERIALIZED (
        SELECT id, set_config('synchronous_commit', 'off', true) FROM lanes WHERE id = :lane FOR KEY SHARE
    ),
    head AS MATERIALIZED (
        SELECT id, rank, priority, cost, losses FROM queue
        WHERE pool = :pool AND version_id = :version AND lane IS NULL AND EXISTS (SELECT 1 FROM me)
        ORDER BY rank, id LIMIT :limit + 1 FOR UPDATE SKIP LOCKED
    ),
    fit AS (
        SELECT id, row_number() OVER best AS place, sum(cost) OVER best AS total,
               max(losses) OVER best AS losses
        FROM head
        WHERE priority BETWEEN :urgent AND :patient
        WINDOW best AS (ORDER BY rank, id)
    ),
    mine AS (
        UPDATE queue q
        SET lane = :lane, attempt = q.attempt + 1, claimed_at = clock_timestamp(), progress = NULL
        WHERE q.id = ANY (ARRAY(
            SELECT id FROM fit
            WHERE place <= :limit AND (place = 1 OR (total <= :budget AND losses = 0))
        ))
        RETURNING q.id, q.attempt, q.losses, q.cost, q.rank, q.priority, q.claimed_at, q.listened,
                  q.rank - q.priority * CAST(:step AS float8) AS start
    ),
    tick AS (
        UPDATE pool_clocks c SET virtual_time = latest.start
        FROM (SELECT max(start) AS start FROM mine) latest
        WHERE c.pool = :pool AND c.virtual_time < latest.start
    )
    SELECT mine.id, mine.attempt, mine.losses, mine.cost, mine.priority, mine.claimed_at, mine.listened,
           p.input, p.owner_id, p.request_id, p.streams, p.webhook, p.webhook_events,
           (SELECT count(*) FROM head) > (SELECT count(*) FROM mine) AS more
    FROM mine JOIN predictions p ON p.id = mine.id
    ORDER BY mine.rank, mine.id
    """
)

# Whoever declares a lane dead deletes its row first, so the lock lets the lane's statements and its death
# happen one after the other: they never deadlock over the leases, and all or none of them still hold.
_LIVING = """
    living AS MATERIALIZED (
        SELECT id FROM lanes WHERE id = ANY(CAST(:lanes AS text[])) ORDER BY id FOR KEY SHARE
    )
"""

_FINISH = ending(
    f"""
    WITH {_LIVING}
    DELETE FROM queue q
    USING json_to_recordset(CAST(:outcomes AS json))
          AS done(id text, lane text, attempt int, status text, output text, error text, failure text,
                  logs text, metrics json)
    WHERE q.id = done.id AND q.lane = done.lane AND q.attempt = done.attempt
      AND done.lane IN (SELECT id FROM living)
    RETURNING q.id, q.attempt, q.claimed_at, q.waiter, done.status, CAST(done.output AS json) AS output,
              done.error, done.failure, done.logs, done.metrics
    """
)

_HELD = text(
    """
    SELECT q.id, q.listened
    FROM unnest(CAST(:ids AS text[]), CAST(:lanes AS text[]), CAST(:attempts AS int[]))
         AS held(id, lane, attempt)
    JOIN queue q USING (id, lane, attempt)
    """
)

# Rows that somebody is about to end are passed over: this waits for nobody, so it deadlocks with nobody.
_NOTE_PROGRESS = text(
    """
    WITH held AS MATERIALIZED (
        SELECT q.id, told.progress
        FROM unnest(CAST(:ids AS text[]), CAST(:lanes AS text[]), CAST(:attempts AS int[]),
                    CAST(:shares AS real[])) AS told(id, lane, attempt, progress)
        JOIN queue q USING (id, lane, attempt)
        FOR NO KEY UPDATE OF q SKIP LOCKED
    )
    UPDATE queue q SET progress = held.progress FROM held WHERE q.id = held.id
    RETURNING set_config('synchronous_commit', 'off', true)
    """
)

_GIVE_BACK = text(
    f"""
    WITH {_LIVING}
    UPDATE queue q SET lane = NULL, claimed_at = NULL
    FROM unnest(CAST(:ids AS text[]), CAST(:lanes AS text[]), CAST(:attempts AS int[]))
         AS held(id, lane, attempt)
    WHERE q.id = held.id AND q.lane = held.lane AND q.attempt = held.attempt
      AND held.lane IN (SELECT id FROM living)
    RETURNING q.id
    """
)

_RELEASE = text("UPDATE queue SET lane = NULL, claimed_at = NULL WHERE lane = :lane RETURNING id")

_NO_EVENTS = frozenset[str]()
_ALL_EVENTS = frozenset[str](Event)


class Leases:
    """One lane's dealings with the queue. Safe to share between the lane's threads.

    `lane` is whom it claims for from now on; leases remember the lane that they were claimed for.
    """

    def __init__(self, engine: Engine, lane: str) -> None:
        self._engine = engine
        self._driver = Driver.of(engine)
        self._claim_sql = driver_sql(_CLAIM, engine)
        self._finish_sql = driver_sql(_FINISH, engine)
        self._held_sql = driver_sql(_HELD, engine)
        self._waiting_sql = driver_sql(WAITING, engine)
        self._lock_sql = driver_sql(instances.LOCK, engine)
        self._take_seat_sql = driver_sql(instances.TAKE_SEAT, engine)
        self._may_have_seats = False
        self.lane = lane

    def waiting(self, pool: str) -> list[WaitingVersion]:
        """The versions that have work waiting in a model type's pool and its deployments', best rank first.

        Ranks of different pools do not compare. Deployments that run in as many lanes as they may are left
        out.
        """
        first, last = deployment_pools(pool)
        parameters = {"pool": pool, "first": first, "last": last, "lane": self.lane}
        with self._driver.cursor() as cursor:
            rows = cursor.execute(self._waiting_sql, parameters)
            return [WaitingVersion(*row) for row in rows]

    def claim(
        self, pool: str, version_id: str, *, limit: int, budget: int, backfill: bool | None = None
    ) -> Claim:
        """Lease up to `limit` waiting predictions of one version whose costs fit `budget`, at least one.

        With `backfill` only batch work; with False none of it, though more of both may be waiting.
        """
        lane = self.lane
        parameters = {
            "lane": lane,
            "pool": pool,
            "version": version_id,
            "limit": limit,
            "budget": budget,
            "step": PRIORITY_STEP,
            "urgent": Priority.BATCH if backfill else Priority.DEFAULT,
            "patient": Priority.FLEX if backfill is False else Priority.BATCH,
        }
        with self._driver.cursor() as cursor, self._seat(cursor, pool) as has_seat:
            rows = cursor.execute(self._claim_sql, parameters).fetchall() if has_seat else []
        leases = [
            Lease(
                id=row.id,
                lane=lane,
                attempt=row.attempt,
                losses=row.losses,
                cost=row.cost,
                input=row.input,
                owner_id=row.owner_id,
                request_id=row.request_id,
                claimed_at=row.claimed_at,
                streams=row.streams,
                listened=row.listened,
                webhook_events=_wanted_events(row.webhook, row.webhook_events),
                backfill=row.priority >= Priority.BATCH,
            )
            for row in rows
        ]
        return Claim(leases, more=bool(rows) and rows[0].more)

    @contextmanager
    def _seat(self, cursor: Cursor[Any], pool: str) -> Iterator[bool]:
        """Whether this lane may claim of the pool meanwhile; a deployment has only so many seats."""
        if not is_deployment(pool):
            yield True
            return
        self._may_have_seats = True
        parameters = {"pool": pool, "lane": self.lane}
        with cursor.connection.transaction():
            cursor.execute(self._lock_sql, parameters)
            yield cursor.execute(self._take_seat_sql, parameters).fetchone() is not None

    def leave_seats(self) -> None:
        """Let other lanes run the deployments that this one has run: for a lane that holds nothing."""
        if self._may_have_seats:
            with self._engine.connect() as connection:
                connection.execute(instances.LEAVE_SEATS, {"lane": self.lane})
            self._may_have_seats = False

    def finish(self, outcomes: Sequence[Outcome]) -> list[Ended]:
        """End predictions, durably. Returns those whose lease still held; of the others nothing is kept."""
        written = [
            {
                "id": outcome.lease.id,
                "lane": outcome.lease.lane,
                "attempt": outcome.lease.attempt,
                "status": outcome.status,
                "output": outcome.output,
                "error": outcome.error,
                "failure": outcome.failure,
                "logs": outcome.logs,
                "metrics": outcome.metrics,
            }
            for outcome in outcomes
        ]
        parameters = {
            "outcomes": msgspec.json.encode(written).decode(),
            "lanes": sorted({outcome.lease.lane for outcome in outcomes}),
        }
        with self._driver.cursor() as cursor:
            rows = cursor.execute(self._finish_sql, parameters)
            return read_endings(rows, {outcome.lease.id: outcome.output for outcome in outcomes})

    def held(self, leases: Iterable[Lease]) -> dict[str, bool]:
        """By id, of those that are still this lane's, whether somebody reads their streams.

        The others have been cancelled, have expired, or were taken back.
        """
        with self._driver.cursor() as cursor:
            return {row.id: row.listened for row in cursor.execute(self._held_sql, _names(leases))}

    def note_progress(self, shares: Sequence[tuple[Lease, float]]) -> None:
        """Write how far leased predictions have come, 0 to 1; of those whose lease is lost, nothing."""
        parameters = _names(lease for lease, _ in shares) | {"shares": [share for _, share in shares]}
        with self._engine.connect() as connection:
            connection.execute(_NOTE_PROGRESS, parameters)

    def give_back(self, leases: Iterable[Lease]) -> list[str]:
        """Let predictions that have not begun wait again, in their old place. Returns their ids."""
        with self._engine.connect() as connection:
            return list(connection.scalars(_GIVE_BACK, _names(leases)))

    def release(self) -> list[str]:
        """Give back whatever this lane holds: for a lane at rest that may have missed a claim's answer."""
        with self._engine.connect() as connection:
            return list(connection.scalars(_RELEASE, {"lane": self.lane}))


def _wanted_events(webhook: str | None, chosen: Sequence[str] | None) -> frozenset[str]:
    if webhook is None:
        return _NO_EVENTS
    return _ALL_EVENTS if chosen is None else frozenset(chosen)


def _names(leases: Iterable[Lease]) -> dict[str, list[Any]]:
    held = list(leases)
    return {
        "ids": [lease.id for lease in held],
        "lanes": [lease.lane for lease in held],
        "attempts": [lease.attempt for lease in held],
    }
