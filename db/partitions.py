"""The weekly partitions of `predictions`: made ahead of time, dropped when they have expired."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, text

from db.ids import floor_id

WEEK = timedelta(weeks=1)
_STORAGE = (
    "fillfactor=85, autovacuum_vacuum_scale_factor=0.05, autovacuum_vacuum_threshold=1000,"
    " autovacuum_analyze_scale_factor=0.05"
)


def ensure_partitions(connection: Connection, *, now: datetime, weeks_ahead: int = 1) -> list[str]:
    """Create the partitions of this week and of those to come; returns the names of new ones.

    A week whose rows went to the default partition already (the steward was away for long) stays there.
    """
    made = []
    existing = set(_partitions(connection))
    start = _monday(now)
    for week in (start + n * WEEK for n in range(weeks_ahead + 1)):
        name = f"predictions_{week:%Y%m%d}"
        if name in existing or _default_has(connection, week):
            continue
        connection.execute(
            text(
                f"CREATE TABLE {name} PARTITION OF predictions"
                f" FOR VALUES FROM ('{floor_id(week)}') TO ('{floor_id(week + WEEK)}') WITH ({_STORAGE})"
            )
        )
        made.append(name)
    return made


def drop_expired_partitions(connection: Connection, *, before: datetime) -> list[str]:
    """Drop the partitions wholly before `before` that hold no waiting prediction; returns their names."""
    dropped = []
    for name in _partitions(connection):
        week = datetime.strptime(name.removeprefix("predictions_"), "%Y%m%d").replace(tzinfo=UTC)
        if week + WEEK > before:
            continue
        waiting = text("SELECT EXISTS (SELECT 1 FROM queue WHERE id >= :low AND id < :high)")
        if connection.scalar(waiting, {"low": floor_id(week), "high": floor_id(week + WEEK)}):
            continue
        connection.execute(text(f"DROP TABLE {name}"))
        dropped.append(name)
    return dropped


def _monday(moment: datetime) -> datetime:
    day = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return day - timedelta(days=day.weekday())


def _partitions(connection: Connection) -> list[str]:
    query = text(
        "SELECT relid::text FROM pg_partition_tree('predictions')"
        " WHERE isleaf AND relid::text <> 'predictions_default' ORDER BY 1"
    )
    return list(connection.scalars(query))


def _default_has(connection: Connection, week: datetime) -> bool:
    query = text("SELECT EXISTS (SELECT 1 FROM predictions_default WHERE id >= :low AND id < :high)")
    return bool(connection.scalar(query, {"low": floor_id(week), "high": floor_id(week + WEEK)}))
