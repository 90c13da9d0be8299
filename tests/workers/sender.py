"""Predictions with webhooks, whose lives a test moves by hand, and a deliverer that tells of them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from ipaddress import ip_network
from typing import Any

import psycopg
from sqlalchemy import Engine, text

from db import lanes, outbox
from db.blob_urls import BlobUrls
from db.ids import new_id
from db.leases import Lease, Leases, Outcome
from db.session import sync_engine
from db.settings import DatabaseSettings
from db.states import Status
from db.stream_urls import StreamUrls
from db.submissions import Submission, submit
from workers.outbound import OutboundClient
from workers.webhooks import Deliverer

LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
BASE_URL = "https://augury.example"
BLOB_URLS = BlobUrls("a secret", seconds=3600)
STREAM_URLS = StreamUrls("a secret")
LANE = lanes.LaneInfo(id="lane", worker="worker", slot=0, host="here", pid=1, pools=["echo"])
OUTPUT = '"häuser"'


class Sender:
    """A user, Ann, her model `Demo/echo`, and the one lane that serves it."""

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url
        self.engine = sync_engine(DatabaseSettings(database_url=database_url))
        self._leases = Leases(self.engine, LANE.id)
        lanes.register(self.engine, LANE)
        self.execute(
            "INSERT INTO models (id, owner, owner_key, name, name_key)"
            " VALUES ('model', 'Demo', 'demo', 'echo', 'echo')"
        )
        self.execute(
            "INSERT INTO users (id, username, username_key, email, email_key, password_hash)"
            " VALUES ('owner', 'Ann', 'ann', 'ann@example.com', 'ann@example.com', '!')"
        )

    def close(self) -> None:
        self.engine.dispose()

    def execute(self, statement: str, **parameters: Any) -> None:
        with self.engine.connect() as connection:
            connection.execute(text(statement), parameters)

    def rows(self, query: str, **parameters: Any) -> Sequence[Any]:
        with self.engine.connect() as connection:
            return connection.execute(text(query), parameters).all()

    def submit(self, *webhooks: str, events: Sequence[str] | None = None) -> list[str]:
        """Predictions with these webhooks, which want these events; their ids."""
        submissions = [
            Submission(
                id=new_id(),
                owner_id="owner",
                version_id="version",
                model_id="model",
                pool="echo",
                input='{"text": "häuser"}',
                created_at=datetime.now(UTC),
                webhook=webhook,
                webhook_events=events,
            )
            for webhook in webhooks
        ]
        asyncio.run(self._submit(submissions))
        return [submission.id for submission in submissions]

    async def _submit(self, submissions: list[Submission]) -> None:
        async with await psycopg.AsyncConnection.connect(self._database_url, autocommit=True) as connection:
            await submit(connection, submissions)

    def start(self, *, told: bool = True) -> list[Lease]:
        """Lease all that waits, and have their receivers told unless said otherwise."""
        leases = list(self._leases.claim("echo", "version", limit=1000, budget=1000).leases)
        if told:
            outbox.note_started(self.engine, [lease.id for lease in leases])
        return leases

    def write(self, leases: Sequence[Lease], output: str, *, events: Sequence[str] = ("output",)) -> None:
        """What these have come to, as JSON, and the news of it."""
        for lease in leases:
            self.execute(
                "INSERT INTO partials (id, attempt, output) VALUES (:id, :attempt, CAST(:output AS json))"
                " ON CONFLICT (id) DO UPDATE SET output = excluded.output",
                id=lease.id,
                attempt=lease.attempt,
                output=output,
            )
        outbox.note_partial(self.engine, [(lease.id, lease.attempt, events) for lease in leases])

    def finish(self, leases: Sequence[Lease]) -> None:
        self._leases.finish([Outcome(lease, Status.SUCCEEDED, output=OUTPUT) for lease in leases])

    def finished(self, *webhooks: str) -> list[str]:
        """Predictions with these webhooks, of which only the end is to be told; their ids."""
        ids = self.submit(*webhooks)
        self.finish(self.start(told=False))
        return ids

    def take(self) -> list[outbox.Delivery]:
        """What is to be told now, as a steward would take it."""
        return outbox.due(self.engine, limit=100, per_receiver=100, busy={}, lease_seconds=60)

    def let_time_pass(self) -> None:
        """Whatever was put off is due now."""
        self.execute(
            "UPDATE webhook_deliveries SET next_attempt_at = now(), last_error = NULL"
            " WHERE next_attempt_at > now()"
        )


@contextmanager
def delivering(engine: Engine, client: OutboundClient | None = None, **options: Any) -> Iterator[Deliverer]:
    """A deliverer that polls often, as the steward does."""
    deliverer = Deliverer(
        engine,
        client or OutboundClient(LOOPBACK),
        base_url=BASE_URL,
        blob_urls=BLOB_URLS,
        stream_urls=STREAM_URLS,
        **options,
    )
    over = threading.Event()

    def poll() -> None:
        while not over.wait(0.02):
            deliverer.run_due()

    thread = threading.Thread(target=poll)
    thread.start()
    try:
        yield deliverer
    finally:
        over.set()
        thread.join()
        deliverer.close()
