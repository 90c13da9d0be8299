"""How predictions enter the queue, and how their owners cancel them. Async; the gateway only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import msgspec
from psycopg import AsyncConnection
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from db.endings import Ended, ending, read_endings
from db.errors import IdempotencyMismatch
from db.states import Priority, Status
from db.tables.queue_entry import PRIORITY_STEP


class Submission(msgspec.Struct, frozen=True):
    """A prediction to be accepted: validated input as JSON text, and where it is to run.

    `deadline_seconds` counts from acceptance, `deadline_at` is the client's own deadline: the sooner one
    holds. `digest` is the SHA-256 of the request, for its key. `streams` has a text stored as the list of its
    chunks. `webhook_events` are null for all. `deployment` is `owner/name`, and `pool` its pool then.
    """

    id: str
    owner_id: str
    version_id: str
    model_id: str
    pool: str
    input: str
    created_at: datetime
    webhook: str | None = None
    request_id: str | None = None
    waiter: str | None = None
    deadline_seconds: float | None = None
    cost: int = 1
    priority: Priority = Priority.DEFAULT
    idempotency_key: str | None = None
    digest: bytes | None = None
    source: str = "api"
    streams: bool = False
    deployment: str | None = None
    webhook_events: Sequence[str] | None = None
    deadline_at: datetime | None = None


# One statement, so one transaction and one round trip for however many predictions. Ranks are start tags
# of start-time fair queueing (Goyal, Vin, Cheng: "Start-time Fair Queuing", 1996): an owner's next one of
# a priority starts where the last one ended, or at the virtual time, whichever is later. That is the pool's,
# but for patient classes, which may have fallen behind it, where the first of those that wait starts.
# What is already stored (a retry after a lost answer) is not queued again.
SUBMIT = f"""
WITH incoming AS (
    SELECT * FROM ROWS FROM (json_to_recordset(%s) AS (
        id text, owner_id text, version_id text, model_id text, pool text, input text,
        created_at timestamptz, webhook text, request_id text, waiter text, deadline_seconds float8,
        cost int, priority int, idempotency_key text, digest text, source text, streams bool,
        deployment text, webhook_events text[], deadline_at timestamptz)
    ) WITH ORDINALITY AS t(
        id, owner_id, version_id, model_id, pool, input, created_at, webhook, request_id, waiter,
        deadline_seconds, cost, priority, key, digest, source, streams, deployment, webhook_events,
        deadline_at, place)
),
keyed AS (
    INSERT INTO idempotency_keys (owner_id, key, prediction_id, digest)
    SELECT owner_id, key, id, decode(digest, 'base64') FROM incoming
    WHERE key IS NOT NULL ORDER BY owner_id, key, place
    ON CONFLICT DO NOTHING RETURNING prediction_id
),
stored AS (
    INSERT INTO predictions (id, owner_id, version_id, model_id, input, webhook, request_id, created_at,
                             source, streams, deployment, webhook_events, deadline_at)
    SELECT id, owner_id, version_id, model_id, input::json, webhook, request_id, created_at,
           source, streams, deployment, webhook_events, deadline_at
    FROM incoming WHERE key IS NULL OR id IN (SELECT prediction_id FROM keyed)
    ON CONFLICT DO NOTHING RETURNING id
),
accepted AS (
    SELECT i.*, row_number() OVER (PARTITION BY pool, owner_id, priority ORDER BY place) - 1 AS ahead
    FROM incoming i JOIN stored USING (id)
),
clock AS (
    INSERT INTO owner_clocks AS c (pool, owner_id, priority, virtual_time, burst)
    SELECT a.pool, a.owner_id, a.priority, coalesce(
               CASE WHEN a.priority > 0 THEN (
                   SELECT q.rank - q.priority * {PRIORITY_STEP}::float8 FROM queue q
                   WHERE q.pool = a.pool AND q.priority = a.priority AND q.priority > 0 AND q.lane IS NULL
                   ORDER BY q.rank LIMIT 1
               ) END,
               max(p.virtual_time), 0
           ) + count(*), count(*)
    FROM accepted a LEFT JOIN pool_clocks p USING (pool)
    GROUP BY a.pool, a.owner_id, a.priority ORDER BY a.pool, a.owner_id, a.priority
    ON CONFLICT (pool, owner_id, priority) DO UPDATE
    SET virtual_time = greatest(c.virtual_time, excluded.virtual_time - excluded.burst) + excluded.burst,
        burst = excluded.burst
    RETURNING pool, owner_id, priority, virtual_time - burst AS start
)
INSERT INTO queue (id, pool, version_id, owner_id, rank, priority, cost, deadline_at, waiter)
SELECT a.id, a.pool, a.version_id, a.owner_id, clock.start + a.ahead + a.priority * {PRIORITY_STEP}::float8,
       a.priority, a.cost, least(now() + make_interval(secs => a.deadline_seconds), a.deadline_at), a.waiter
FROM accepted a JOIN clock USING (pool, owner_id, priority)
RETURNING id, rank
"""

# The commit does not wait for the disk: the next one that does makes it durable too.
SUBMIT_UNSYNCED = f"{SUBMIT}, set_config('synchronous_commit', 'off', true)"

# A transaction that writes nothing but a mark in the log: when it is durable, so is all before it.
_MAKE_DURABLE = "SELECT pg_logical_emit_message(true, 'augury', '')"

_KEYED = (
    "SELECT k.owner_id, k.key, k.prediction_id, k.digest FROM idempotency_keys k"
    " JOIN unnest(%s::text[], %s::text[]) AS asked(owner_id, key) USING (owner_id, key)"
)


@dataclass(frozen=True, slots=True)
class Accepted:
    """A submission is stored. `replayed` tells that its idempotency key stood for `id` already.

    `rank` is its place in the queue, unless it was stored before.
    """

    id: str
    replayed: bool = False
    rank: float | None = field(default=None, compare=False)


_encoder = msgspec.json.Encoder()


async def submit(
    connection: AsyncConnection, submissions: Sequence[Submission]
) -> list[Accepted | IdempotencyMismatch]:
    """Commit submissions together; answers in their order. The connection must be in autocommit mode.

    The commit is durable, unless all of them have a `waiter`: who waits for the end hears nothing before
    it, and the end is a later, durable commit. Whoever is told sooner needs `make_durable` first.

    Raises `psycopg.Error`, and then none is accepted, or the outcome is unknown and the same submissions
    may be sent again: their ids make that harmless.
    """
    if not submissions:
        return []
    # One JSON text costs a fraction of fifteen arrays, on both sides.
    statement = SUBMIT_UNSYNCED if all(s.waiter for s in submissions) else SUBMIT
    cursor = await connection.execute(statement, [_encoder.encode(submissions).decode()])
    queued = {row[0]: row[1] for row in await cursor.fetchall()}
    missing = [s for s in submissions if s.id not in queued and s.idempotency_key is not None]
    replays = await _replays(connection, missing) if missing else {}
    return [replays.get(s.id) or Accepted(s.id, rank=queued.get(s.id)) for s in submissions]


async def make_durable(connection: AsyncConnection) -> None:
    """Return when all that was committed before is on disk. The connection must be in autocommit mode."""
    await connection.execute(_MAKE_DURABLE)


async def _replays(
    connection: AsyncConnection, submissions: Sequence[Submission]
) -> dict[str, Accepted | IdempotencyMismatch]:
    owners = [s.owner_id for s in submissions]
    keys = [s.idempotency_key for s in submissions]
    cursor = await connection.execute(_KEYED, [owners, keys])
    known = {(owner, key): (found, digest) for owner, key, found, digest in await cursor.fetchall()}
    answers: dict[str, Accepted | IdempotencyMismatch] = {}
    for submission in submissions:
        assert submission.idempotency_key is not None
        found, digest = known[submission.owner_id, submission.idempotency_key]
        if bytes(digest) != submission.digest:
            answers[submission.id] = IdempotencyMismatch(submission.idempotency_key)
        else:
            answers[submission.id] = Accepted(found, replayed=found != submission.id)
    return answers


_CANCEL = ending(
    """
    DELETE FROM queue WHERE id = :id
    RETURNING id, attempt, claimed_at, waiter, CAST(:status AS text) AS status, CAST(NULL AS json) AS output,
              CAST(NULL AS text) AS error, CAST(NULL AS text) AS failure, CAST(NULL AS text) AS logs,
              CAST(NULL AS json) AS metrics
    """
)


async def cancel(engine: AsyncEngine, prediction_id: str) -> Ended | None:
    """End a prediction as canceled, at once, queued or running; None when it has ended already.

    A lane that runs it finds its lease void at the next step's edge and drops it.
    """
    async with engine.connect() as connection:
        rows = await connection.execute(_CANCEL, {"id": prediction_id, "status": Status.CANCELED.value})
        return next(iter(read_endings(rows)), None)


_WATCH = text(
    """
    UPDATE queue
    SET waiter = CASE WHEN :waiter = ANY(string_to_array(waiter, ',')) THEN waiter
                      ELSE concat_ws(',', waiter, CAST(:waiter AS text)) END,
        listened = listened OR :listens
    WHERE id = :id
    RETURNING pool, lane IS NOT NULL AS is_claimed, set_config('synchronous_commit', 'off', true)
    """
)


@dataclass(frozen=True, slots=True)
class Watched:
    """A prediction in the queue. Claims pass over a row that is being written, so unless it `is_claimed`
    a lane may have come for nothing meanwhile: ring for its pool again.
    """

    pool: str
    is_claimed: bool


async def watch(
    engine: AsyncEngine, prediction_id: str, *, waiter: str, listens: bool = False
) -> Watched | None:
    """Ask that the end of a prediction be published on `waiter` too; None when it has ended already.

    With `listens`, its lane tells each chunk at once.
    """
    parameters = {"id": prediction_id, "waiter": waiter, "listens": listens}
    async with engine.connect() as connection:
        row = (await connection.execute(_WATCH, parameters)).first()
    return None if row is None else Watched(row.pool, row.is_claimed)
