"""A whole lane with its pulse: it beats, drops what is not its own any more, and leaves in good order."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
from sqlalchemy import Engine, text

from db import lanes
from db.ids import new_id
from db.session import async_engine, sync_engine
from db.settings import BlobSettings, DatabaseSettings
from db.submissions import Submission, cancel, submit
from tests.stack import wait_until
from workers.broker import BrokerSettings
from workers.doorbell import LINGER_SECONDS
from workers.events import Observers
from workers.lane import Lane, Place
from workers.settings import WorkerSettings

LEASE_SECONDS = 1.0


class Yard:
    """A database with one echo model, and what happens to its predictions."""

    def __init__(self, database_url: str, redis_url: str, directory: Path) -> None:
        self.settings = DatabaseSettings(database_url=database_url)
        self.broker = BrokerSettings(redis_url=redis_url)
        self.blobs = BlobSettings(blob_store=str(directory / "blobs"))
        self.engine: Engine = sync_engine(self.settings)
        self.run(
            "INSERT INTO models (id, owner, owner_key, name, name_key)"
            " VALUES ('model', 'test', 'test', 'echo', 'echo')"
        )

    def run(self, statement: str, **parameters: Any) -> None:
        with self.engine.connect() as connection:
            connection.execute(text(statement), parameters)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(query))]

    def add_version(self, version_id: str = "version", **options: Any) -> None:
        self.run(
            "INSERT INTO model_versions"
            " (id, model_id, label, model_type, engine, path, input_schema, options)"
            " VALUES (:id, 'model', :id, 'echo', 'builtin', '-', '{}', :options)",
            id=version_id,
            options=json.dumps(options),
        )

    def submit(self, said: str, *, deadline_seconds: float | None = None, **inputs: Any) -> str:
        """Queue an echo; its id."""
        submission = Submission(
            id=new_id(),
            owner_id="ann",
            version_id="version",
            model_id="model",
            pool="echo",
            input=json.dumps({"text": said} | inputs),
            created_at=datetime.now(UTC),
            deadline_seconds=deadline_seconds,
        )

        async def send() -> None:
            conninfo = self.settings.conninfo()
            async with await psycopg.AsyncConnection.connect(conninfo, autocommit=True) as connection:
                await submit(connection, [submission])

        asyncio.run(send())
        return submission.id

    def cancel(self, prediction_id: str) -> None:
        async def call() -> None:
            engine = async_engine(self.settings)
            assert await cancel(engine, prediction_id) is not None
            await engine.dispose()

        asyncio.run(call())

    def state(self, prediction_id: str) -> tuple[str, str | None]:
        """Its status and failure, as clients see them."""
        ((status, failure),) = self.rows(
            "SELECT CASE WHEN q.lane IS NULL THEN p.status ELSE 'processing' END, p.failure"
            f" FROM predictions p LEFT JOIN queue q USING (id) WHERE p.id = '{prediction_id}'"
        )
        return status, failure

    @contextmanager
    def lane(self) -> Iterator[Lane]:
        """A lane that has signed on."""
        lane = Lane(
            Place("worker", 0, ["echo"]),
            settings=WorkerSettings(lease_seconds=LEASE_SECONDS, enable_gpu=False),
            database=self.settings,
            broker=self.broker,
            blobs=self.blobs,
            observer=Observers(),
            stopping=lambda: False,
        )
        try:
            wait_until(lambda: self.rows("SELECT id FROM lanes") != [], 10)
            yield lane
        finally:
            lane.close()


@pytest.fixture
def yard(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Yard]:
    opened = Yard(database_url, redis_url, tmp_path)
    yield opened
    opened.engine.dispose()


@contextmanager
def serving(lane: Lane) -> Iterator[threading.Thread]:
    """The lane answers a bell meanwhile."""
    thread = threading.Thread(target=lane.serve, args=("echo",))
    thread.start()
    try:
        yield thread
    finally:
        thread.join()


@pytest.mark.slow
def test_a_lane_loads_what_is_registered_and_serves(yard: Yard) -> None:
    yard.add_version()
    made = yard.submit("hello")
    with yard.lane() as lane:
        lane.serve("echo")
    assert yard.rows("SELECT status, output, attempts FROM predictions") == [("succeeded", "hello", 1)]
    assert yard.state(made) == ("succeeded", None)


@pytest.mark.slow
def test_a_lane_leaves_a_cancelled_prediction_within_a_step(yard: Yard) -> None:
    yard.add_version()
    long = yard.submit("long", sleep=30, steps=300)
    with yard.lane() as lane, serving(lane) as thread:
        wait_until(lambda: yard.state(long)[0] == "processing", 10)
        yard.cancel(long)
        thread.join(timeout=2 + LINGER_SECONDS)
        assert not thread.is_alive()
        after = yard.submit("after")
        lane.serve("echo")
        assert yard.state(after) == ("succeeded", None)
    assert yard.state(long) == ("canceled", None)


@pytest.mark.slow
def test_batch_mates_of_a_cancelled_prediction_go_on(yard: Yard) -> None:
    yard.add_version()
    gone, stays = (yard.submit(said, sleep=1.5, steps=15) for said in ("gone", "stays"))
    with yard.lane() as lane, serving(lane):
        wait_until(lambda: yard.state(stays)[0] == "processing", 10)
        yard.cancel(gone)
    assert (yard.state(gone)[0], yard.state(stays)[0]) == ("canceled", "succeeded")


@pytest.mark.slow
def test_those_who_run_do_not_linger_with_those_who_join(yard: Yard) -> None:
    yard.add_version(max_wait_ms=3000, max_batch=8)
    with yard.lane() as lane:
        runs = yard.submit("runs", sleep=1, steps=20)
        yard.run("UPDATE queue SET enqueued_at = now() - interval '1 hour'")
        with serving(lane):
            wait_until(lambda: yard.state(runs)[0] == "processing", 10)
            joins = yard.submit("joins")
            wait_until(lambda: yard.state(joins)[0] == "succeeded", 3)
    assert yard.rows(
        f"SELECT completed_at - started_at < interval '2.5 s' FROM predictions WHERE id = '{runs}'"
    ) == [(True,)]


@pytest.mark.slow
def test_a_lane_does_as_its_operator_has_tuned_it(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tuning = {"WARMUP_STEPS": "2", "BATCH_TIMEOUT": "2", "BATCH_SIZE": "2", "CHAT_MAX_NEW_TOKENS": "7"}
    for name, value in tuning.items():
        monkeypatch.setenv(name, value)
    yard.add_version(warm_up=[{"text": "warm"}])
    caplog.set_level(logging.INFO, "workers.warming")
    with yard.lane() as lane:
        yard.submit("loads it")
        lane.serve("echo")
        assert caplog.text.count("warmed up test/echo") == 2
        yard.submit("waits")
        with serving(lane):
            time.sleep(0.5)
            yard.submit("fills up")
        yard.run("UPDATE model_versions SET model_type = 'text-generation'")
        found = lane._find("version")
    assert found is not None
    assert found.options["max_new_tokens"] == 7
    ended = "SELECT max(completed_at) - min(completed_at) < interval '0.2 s' FROM predictions"
    assert yard.rows(f"{ended} WHERE input->>'text' <> 'loads it'") == [(True,)]


@pytest.mark.slow
def test_what_runs_for_too_long_ends_between_two_steps_and_alone(yard: Yard) -> None:
    yard.add_version(execution_timeout_seconds=0.5)
    long, short = yard.submit("long", sleep=20, steps=200), yard.submit("short", sleep=0.1)
    with yard.lane() as lane:
        lane.serve("echo")
    assert yard.state(long) == ("failed", "execution_timeout")
    assert yard.state(short) == ("succeeded", None)
    assert yard.rows("SELECT error FROM predictions WHERE failure IS NOT NULL") == [
        ("The prediction ran for longer than 0.5 seconds.",)
    ]


@pytest.mark.slow
def test_a_lane_that_was_declared_dead_signs_on_anew_and_its_old_leases_are_void(yard: Yard) -> None:
    yard.add_version()
    made = yard.submit("long", sleep=30, steps=300)
    with yard.lane() as lane, serving(lane) as thread:
        wait_until(lambda: yard.state(made)[0] == "processing", 10)
        ((old,),) = yard.rows("SELECT id FROM lanes")
        lanes.register(yard.engine, lanes.LaneInfo("heir", "worker", 0, "here", 1, ["echo"]))
        thread.join(timeout=3)
        assert not thread.is_alive()
        wait_until(lambda: yard.rows("SELECT id FROM lanes") not in ([], [("heir",)]), 5)
        assert yard.rows("SELECT id FROM lanes") != [(old,)]
        assert yard.rows("SELECT lane, losses FROM queue") == [(None, 1)]
        yard.cancel(made)
        after = yard.submit("after")
        lane.serve("echo")
        assert yard.state(after) == ("succeeded", None)


@pytest.mark.slow
def test_a_lane_beats_and_tells_what_it_has_done(yard: Yard) -> None:
    yard.add_version()
    yard.submit("a")
    with yard.lane() as lane:
        lane.serve("echo")
        wait_until(lambda: yard.rows("SELECT finished, resident FROM lanes") == [(1, ["version"])], 5)
        ((before,),) = yard.rows("SELECT last_seen FROM lanes")
        wait_until(lambda: yard.rows("SELECT last_seen FROM lanes") > [(before,)], 5)
    assert yard.rows("SELECT id FROM lanes") == []


def test_a_lane_that_leaves_gives_back_what_it_holds_and_rings_for_it(yard: Yard) -> None:
    yard.add_version()
    made = yard.submit("held")
    with yard.lane():
        yard.run("UPDATE queue SET lane = (SELECT id FROM lanes), attempt = 1, claimed_at = now()")
    assert yard.state(made)[0] == "starting"
    assert yard.rows("SELECT lane, losses FROM queue") == [(None, 0)]
    with redis.Redis.from_url(yard.broker.url()) as client:
        assert client.llen("echo") == 1


@pytest.mark.slow
@pytest.mark.own_database
def test_a_lane_without_a_database_has_nothing_to_serve_and_signs_on_when_it_is_there(yard: Yard) -> None:
    yard.add_version()
    yard.run("ALTER TABLE lanes RENAME TO away")
    lane = Lane(
        Place("worker", 0, ["echo"]),
        settings=WorkerSettings(lease_seconds=0.3, enable_gpu=False),
        database=yard.settings,
        broker=yard.broker,
        blobs=yard.blobs,
        observer=Observers(),
        stopping=lambda: False,
    )
    try:
        began = time.monotonic()
        lane.serve("echo")
        assert time.monotonic() - began < 2
        yard.run("ALTER TABLE away RENAME TO lanes")
        wait_until(lambda: yard.rows("SELECT id FROM lanes") != [], 10)
    finally:
        lane.close()
