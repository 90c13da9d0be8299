"""Lanes come, beat and go; the leases of those that died are taken back. Sync; workers and steward only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, Engine, text

from db.endings import Ended, ending, read_endings
from db.session import transaction
from db.states import FailureCode, Status

MAX_LOSSES = 3


@dataclass(frozen=True, slots=True)
class LaneInfo:
    """Who a lane is: its own id, the worker's boot it belongs to, its place there, and its kind of device."""

    id: str
    worker: str
    slot: int
    host: str
    pid: int
    pools: Sequence[str]
    device: str = "cpu"


@dataclass(frozen=True, slots=True)
class TakenBack:
    """What a sweep took from dead lanes: pools that have work again, and predictions that have failed."""

    lanes: Sequence[str] = ()
    pools: frozenset[str] = frozenset()
    failed: Sequence[Ended] = field(default_factory=list)


def register(engine: Engine, lane: LaneInfo) -> TakenBack:
    """Enter a lane. One that had the same slot in the same worker must be dead: its leases come back now."""
    with transaction(engine) as connection:
        dead = list(
            connection.scalars(
                text("DELETE FROM lanes WHERE worker = :worker AND slot = :slot RETURNING id"),
                {"worker": lane.worker, "slot": lane.slot},
            )
        )
        taken = _take_back(connection, dead)
        connection.execute(
            text(
                "INSERT INTO lanes (id, worker, slot, host, pid, pools, device)"
                " VALUES (:id, :worker, :slot, :host, :pid, :pools, :device)"
            ),
            {name: getattr(lane, name) for name in ("id", "worker", "slot", "host", "pid", "device")}
            | {"pools": list(lane.pools)},
        )
        connection.execute(
            text(
                "INSERT INTO pool_clocks (pool) SELECT unnest(CAST(:pools AS text[])) ON CONFLICT DO NOTHING"
            ),
            {"pools": sorted(lane.pools)},
        )
    return taken


def beat(engine: Engine, lane_id: str, *, finished: int, resident: Sequence[str]) -> bool:
    """Say that a lane lives, and how many predictions it has finished. False: it was declared dead."""
    statement = text(
        "UPDATE lanes SET last_seen = clock_timestamp(), finished = :finished, resident = :resident"
        " WHERE id = :lane RETURNING set_config('synchronous_commit', 'off', true)"
    )
    with engine.connect() as connection:
        row = connection.execute(
            statement, {"lane": lane_id, "finished": finished, "resident": list(resident)}
        ).first()
    return row is not None


def retire(engine: Engine, lane_id: str) -> TakenBack:
    """A lane leaves in good order: what it still holds waits again, without counting as a loss."""
    with transaction(engine) as connection:
        connection.execute(text("DELETE FROM lanes WHERE id = :lane"), {"lane": lane_id})
        statement = text("UPDATE queue SET lane = NULL, claimed_at = NULL WHERE lane = :lane RETURNING pool")
        pools = frozenset(connection.scalars(statement, {"lane": lane_id}))
    return TakenBack([lane_id], pools)


def take_back_dead(engine: Engine, *, lease_seconds: float) -> TakenBack:
    """Take back the leases of lanes that have been silent for longer than a lease, by the database's clock.

    After a restart of the database every lane is granted a full lease to be heard again.
    """
    statement = text(
        "DELETE FROM lanes WHERE last_seen < now() - make_interval(secs => :lease)"
        " AND pg_postmaster_start_time() < now() - make_interval(secs => :lease) RETURNING id"
    )
    with transaction(engine) as connection:
        dead = list(connection.scalars(statement, {"lease": lease_seconds}))
        return _take_back(connection, dead)


def take_back_all(engine: Engine) -> TakenBack:
    """Take back every lease: for a start at which no worker of this database can be alive."""
    with transaction(engine) as connection:
        dead = list(connection.scalars(text("DELETE FROM lanes RETURNING id")))
        return _take_back(connection, dead)


def abandon(
    engine: Engine, lane_id: str, *, running: Sequence[str], failure: FailureCode, error: str
) -> TakenBack:
    """A lane gives itself up, because what it runs hangs: for that it counts as a loss.

    A prediction that ran alone is the culprit and fails at once; of several, each is tried alone. What the
    lane held but had not begun waits again.
    """
    with transaction(engine) as connection:
        connection.execute(text("DELETE FROM lanes WHERE id = :lane"), {"lane": lane_id})
        idle = connection.scalars(_LET_GO, {"lane": lane_id, "running": list(running)})
        pools = frozenset(idle)
        held = connection.scalar(text("SELECT count(*) FROM queue WHERE lane = :lane"), {"lane": lane_id})
        cap = 1 if held == 1 else MAX_LOSSES
        taken = _take_back(connection, [lane_id], max_losses=cap, failure=failure, error=error)
    return TakenBack(taken.lanes, taken.pools | pools, taken.failed)


_LET_GO = text(
    "UPDATE queue SET lane = NULL, claimed_at = NULL"
    " WHERE lane = :lane AND id <> ALL(CAST(:running AS text[])) RETURNING pool"
)


# A loose index scan over the pools; claimed rows come first in their order, but there are few of them.
_WAITING_POOLS = text(
    """
    WITH RECURSIVE pools AS (
        (SELECT pool FROM queue ORDER BY pool LIMIT 1)
        UNION ALL
        SELECT (SELECT q.pool FROM queue q WHERE q.pool > p.pool ORDER BY q.pool LIMIT 1)
        FROM pools p WHERE p.pool IS NOT NULL
    )
    SELECT p.pool FROM pools p LEFT JOIN deployments d USING (pool)
    WHERE EXISTS (SELECT 1 FROM queue q WHERE q.pool = p.pool AND q.lane IS NULL)
      AND (d.id IS NULL OR d.max_instances > (SELECT count(*) FROM lanes l WHERE p.pool = ANY(l.seats)))
    """
)


def waiting_pools(engine: Engine) -> list[str]:
    """The pools in which at least one prediction waits for a lane, and deployments' if one may come."""
    with engine.connect() as connection:
        return list(connection.scalars(_WAITING_POOLS))


_WAIT_AGAIN = text(
    "UPDATE queue SET lane = NULL, claimed_at = NULL, losses = losses + 1"
    " WHERE lane = ANY(:lanes) AND losses + 1 < :max_losses RETURNING pool"
)

_FAIL_LOST = ending(
    """
    DELETE FROM queue WHERE lane = ANY(:lanes)
    RETURNING id, attempt, claimed_at, waiter, CAST(:status AS text) AS status, CAST(NULL AS json) AS output,
              CAST(:error AS text) AS error, CAST(:failure AS text) AS failure, CAST(NULL AS text) AS logs,
              CAST(NULL AS json) AS metrics
    """
)


def _take_back(
    connection: Connection,
    lanes: Sequence[str],
    *,
    max_losses: int = MAX_LOSSES,
    failure: FailureCode = FailureCode.WORKER_LOST,
    error: str = f"The worker died {MAX_LOSSES} times while it ran this prediction.",
) -> TakenBack:
    if not lanes:
        return TakenBack()
    pools = connection.scalars(_WAIT_AGAIN, {"lanes": list(lanes), "max_losses": max_losses})
    again = frozenset(pools)
    parameters = {
        "lanes": list(lanes),
        "status": Status.FAILED.value,
        "error": error,
        "failure": failure.value,
    }
    return TakenBack(lanes, again, read_endings(connection.execute(_FAIL_LOST, parameters)))
