"""The steward: rings lost bells, takes back dead leases, enforces deadlines, delivers webhooks, forgets.

Any number may run; one of them leads, by a session-level advisory lock of PostgreSQL. Run as
`python -m workers.steward`.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from types import FrameType

import redis
from pydantic import ValidationError
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from db import deadlines, instances, lanes, retention
from db.blob_urls import BlobUrls
from db.blobs import Blobs
from db.partials import PartialsSweep
from db.partitions import drop_expired_partitions, ensure_partitions
from db.run_counts import RunCounts
from db.session import sync_engine, transaction
from db.settings import BlobSettings, DatabaseSettings
from db.stream_urls import StreamUrls
from db.vacuum import QueueVacuum
from workers import logs
from workers.announcing import Announcer
from workers.bells import Bells
from workers.broker import BrokerSettings
from workers.outbound import OutboundClient
from workers.settings import StewardSettings
from workers.sweeper import Sweeper
from workers.webhooks import Deliverer

logger = logging.getLogger(__name__)

TICK_SECONDS = 0.5
# Receivers wait for their webhooks; looking for what is due costs next to nothing.
WEBHOOKS_SECONDS = 0.1
HOUSEKEEPING_SECONDS = 3600.0
HOUSEKEEPING_RETRY_SECONDS = 60.0
# Any constant will do, as long as nobody else locks it: "augury" in ASCII.
LEADER_LOCK = 0x617567757279


class Leadership:
    """The lock that makes one steward lead. Its connection is kept: when it goes, so does the lock."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Connection | None = None

    def held(self) -> bool:
        """Whether this steward leads now, trying to lead if it does not. Raises `SQLAlchemyError`."""
        if self._connection is None:
            connection = self._engine.connect()
            if not connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": LEADER_LOCK}):
                connection.close()
                return False
            self._connection = connection
            logger.info("this steward leads")
        self._connection.execute(text("SELECT 1"))
        return True

    def drop(self) -> None:
        """Let another lead. The connection is not pooled again, since it may be broken."""
        if self._connection is not None:
            self._connection.invalidate()
            self._connection.close()
            self._connection = None


class Steward:
    """Everything that must happen although nobody asks for it."""

    def __init__(
        self,
        settings: StewardSettings,
        database: DatabaseSettings,
        broker: BrokerSettings,
        blobs: BlobSettings,
    ) -> None:
        self._settings = settings
        self._engine = sync_engine(database, pool_size=4)
        client = redis.Redis.from_url(broker.url(), socket_timeout=1.0, socket_connect_timeout=1.0)
        self._bells = Bells(client)
        self._announcer = Announcer(client, self._bells)
        secret_key = settings.secret_key.get_secret_value()
        self._deliverer = Deliverer(
            self._engine,
            OutboundClient(settings.outbound_allow_cidrs),
            base_url=settings.public_url,
            blob_urls=BlobUrls(secret_key, seconds=blobs.blob_url_seconds),
            stream_urls=StreamUrls(secret_key),
        )
        self._sweeper = Sweeper(self._engine, Blobs(blobs))
        self._vacuum = QueueVacuum(self._engine)
        self._run_counts = RunCounts(self._engine)
        self._partials = PartialsSweep(self._engine)
        self._leadership = Leadership(self._engine)
        self._housekeeping_at = 0.0
        self._stopping = threading.Event()

    def run(self) -> None:
        """Tick until `stop`. Nothing that the database or Redis do ends this loop."""
        while not self._stopping.is_set():
            started = time.monotonic()
            try:
                if self._leadership.held():
                    self.tick()
                    self._deliver_until(started + TICK_SECONDS)
            except SQLAlchemyError as error:
                logger.warning("the database is away: %s", error.args[0])
                self._leadership.drop()
            except Exception:
                logger.exception("a round failed; the next one tries again")
            self._stopping.wait(max(0.0, TICK_SECONDS - (time.monotonic() - started)))
        self._leadership.drop()
        self._deliverer.close()
        self._sweeper.close()
        self._engine.dispose()

    def stop(self) -> None:
        """Have `run` return after the present round. Safe from signal handlers."""
        self._stopping.set()

    def tick(self) -> None:
        """One round."""
        self._announcer.taken_back(
            lanes.take_back_dead(self._engine, lease_seconds=self._settings.lease_seconds)
        )
        self._announcer.ended(deadlines.expire(self._engine))
        instances.spread(self._engine)
        self._bells.ring(lanes.waiting_pools(self._engine))
        self._deliverer.run_due()
        self._vacuum.run_due()
        self._run_counts.run_due()
        self._partials.run_due()
        if time.monotonic() >= self._housekeeping_at:
            self._housekeeping_at = time.monotonic() + HOUSEKEEPING_RETRY_SECONDS
            self._keep_house()
            self._housekeeping_at = time.monotonic() + HOUSEKEEPING_SECONDS

    def _deliver_until(self, moment: float) -> None:
        """Look for webhooks that are due until shortly before the next round."""
        while time.monotonic() + WEBHOOKS_SECONDS < moment and not self._stopping.wait(WEBHOOKS_SECONDS):
            self._deliverer.run_due()

    def _keep_house(self) -> None:
        """Make the partitions to come, drop those that have expired, forget old keys, sweep files."""
        now = datetime.now(UTC)
        before = now - timedelta(days=self._settings.retention_days)
        with transaction(self._engine) as connection:
            # While it waits for its lock, everybody else waits behind it: better to come back later.
            connection.execute(text("SET LOCAL lock_timeout = '1s'"))
            made = ensure_partitions(connection, now=now)
            dropped = drop_expired_partitions(connection, before=before)
        retention.forget(self._engine, before=before, keys_hours=self._settings.idempotency_hours)
        hours = self._settings.data_retention_hours
        data_before = None if hours is None else now - timedelta(hours=hours)
        self._sweeper.begin(expired_before=before, data_before=data_before)
        if made or dropped:
            logger.info("partitions made: %s; dropped: %s", made, dropped)


def main() -> int:
    """Run a steward until it is told to stop. Returns the exit status."""
    logs.set_up()
    try:
        steward = Steward(StewardSettings(), DatabaseSettings(), BrokerSettings(), BlobSettings())
    except ValidationError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2

    def stop(_number: int, _frame: FrameType | None) -> None:
        steward.stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    steward.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
