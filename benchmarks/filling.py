"""Fills a database with predictions as years of use would: finished ones over weeks, and a long queue."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from sqlalchemy import create_engine, make_url

from db.ids import ID_LENGTH, floor_id
from db.partitions import WEEK, ensure_partitions

SEED = 7
RETENTION = timedelta(days=30)
#: Between the ages of the oldest waiting prediction and the youngest one.
QUEUE_AGE = timedelta(hours=1)
# An id is 50 bits of time (two of them spare) and 80 others: 10 characters of 5 bits, and 16.
_TIME_LENGTH = 10
_ALPHABET = "0123456789abcdefghijklmnopqrstuv"
_INPUT = json.dumps({"text": "What is the use of a book, without pictures or conversations? " * 3})
_OUTPUT = json.dumps("What is the use of a book, without pictures or conversations? " * 3)


class Filler:
    """Writes predictions of one owner and one version, straight into the tables."""

    def __init__(self, database_url: str, *, owner_id: str, model: dict[str, Any], pool: str) -> None:
        self._database_url = database_url
        self._owner_id = owner_id
        self._model_id = model["id"]
        self._version_id = model["latest_version"]["id"]
        self._pool = pool
        self._chance = random.Random(SEED)

    def fill(self, *, finished: int, waiting: int) -> None:
        """Enter so many finished and waiting predictions, and let the planner know of them."""
        now = datetime.now(UTC)
        self._make_partitions(now)
        with psycopg.connect(self._database_url, autocommit=True) as connection:
            with connection.transaction():
                self._copy_finished(connection, self._ids(now - RETENTION, now - QUEUE_AGE, finished))
                self._copy_waiting(connection, list(self._ids(now - QUEUE_AGE, now, waiting)))
            connection.execute("VACUUM ANALYZE")
            connection.execute("CHECKPOINT")

    def _make_partitions(self, now: datetime) -> None:
        url = make_url(self._database_url).set(drivername="postgresql+psycopg")
        engine = create_engine(url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            ensure_partitions(connection, now=now - RETENTION, weeks_ahead=RETENTION // WEEK + 1)
        engine.dispose()

    def _ids(self, start: datetime, end: datetime, count: int) -> Iterator[tuple[str, datetime]]:
        """Ids in the order of time, spread evenly, with the moments that they were made at."""
        for number in range(count):
            moment = start + (end - start) * (number / count)
            suffix = "".join(self._chance.choices(_ALPHABET, k=ID_LENGTH - _TIME_LENGTH))
            yield floor_id(moment)[:_TIME_LENGTH] + suffix, moment

    def _copy_finished(
        self, connection: psycopg.Connection[Any], ids: Iterator[tuple[str, datetime]]
    ) -> None:
        columns = "id, created_at, started_at, completed_at, status, attempts, input, output"
        statement = f"COPY predictions (owner_id, version_id, model_id, {columns}) FROM STDIN"
        with connection.cursor().copy(statement) as copy:
            for id_, moment in ids:
                ended = moment + timedelta(seconds=1)
                row = (id_, moment, moment, ended, "succeeded", 1, _INPUT, _OUTPUT)
                copy.write_row((self._owner_id, self._version_id, self._model_id, *row))

    def _copy_waiting(self, connection: psycopg.Connection[Any], ids: list[tuple[str, datetime]]) -> None:
        """As `db.submissions` leaves them: a record, a place in the queue, and the owner's clock moved on."""
        columns = "owner_id, version_id, model_id, id, created_at, input"
        with connection.cursor().copy(f"COPY predictions ({columns}) FROM STDIN") as copy:
            for id_, moment in ids:
                copy.write_row((self._owner_id, self._version_id, self._model_id, id_, moment, _INPUT))
        columns = "pool, version_id, owner_id, id, rank, enqueued_at"
        with connection.cursor().copy(f"COPY queue ({columns}) FROM STDIN") as copy:
            for rank, (id_, moment) in enumerate(ids):
                copy.write_row((self._pool, self._version_id, self._owner_id, id_, float(rank), moment))
        connection.execute(
            "INSERT INTO owner_clocks (pool, owner_id, virtual_time, burst) VALUES (%s, %s, %s, 1)",
            [self._pool, self._owner_id, float(len(ids))],
        )
