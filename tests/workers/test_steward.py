"""The steward rings lost bells, ends what is late, forgets what is old; another takes over when it goes."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy import text

from cli.postgres import EmbeddedPostgres
from cli.valkey import EmbeddedValkey
from db.blobs import Blobs, folder_of
from db.ids import floor_id
from db.partitions import ensure_partitions
from db.session import sync_engine
from tests.stack import wait_until
from tests.workers.test_lane import Yard
from workers.settings import StewardSettings
from workers.steward import Leadership, Steward


@pytest.fixture
def yard(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Yard]:
    opened = Yard(database_url, redis_url, tmp_path)
    yield opened
    opened.engine.dispose()


@contextmanager
def steward_of(yard: Yard, **settings: Any) -> Iterator[Steward]:
    """A steward at work in a thread."""
    settings_ = StewardSettings(secret_key=secrets.token_urlsafe(48), **settings)
    steward = Steward(settings_, yard.settings, yard.broker, yard.blobs)
    thread = threading.Thread(target=steward.run)
    thread.start()
    try:
        yield steward
    finally:
        steward.stop()
        thread.join(timeout=10)
        assert not thread.is_alive()


def bells(yard: Yard) -> int:
    with redis.Redis.from_url(yard.broker.url()) as client:
        return int(client.llen("echo"))


@pytest.mark.slow
def test_a_lost_bell_is_rung_again(yard: Yard) -> None:
    yard.submit("waits")
    with steward_of(yard):
        wait_until(lambda: bells(yard) > 0, 3)
        with redis.Redis.from_url(yard.broker.url()) as client:
            client.flushdb()
        wait_until(lambda: bells(yard) > 0, 3)


def test_no_bell_rings_where_nothing_waits(yard: Yard) -> None:
    yard.submit("runs")
    late = yard.submit("late", deadline_seconds=0.1)
    yard.run("UPDATE queue SET lane = 'lane'")
    with steward_of(yard):
        wait_until(lambda: yard.state(late)[0] == "failed", 5)
    assert bells(yard) == 0


@pytest.mark.slow
def test_what_is_late_fails_queued_or_running(yard: Yard) -> None:
    late = [yard.submit(said, deadline_seconds=0.1) for said in ("queued", "running")]
    early = yard.submit("early", deadline_seconds=3600)
    yard.run("UPDATE queue SET lane = 'lane', attempt = 1, claimed_at = now() WHERE id = :id", id=late[1])
    with steward_of(yard):
        wait_until(lambda: [yard.state(one) for one in late] == [("failed", "deadline_exceeded")] * 2, 5)
    assert yard.state(early) == ("starting", None)


@pytest.mark.slow
def test_the_leases_of_a_silent_lane_go_back_and_its_pool_is_rung_for(yard: Yard) -> None:
    made = yard.submit("held")
    yard.run(
        "INSERT INTO lanes (id, worker, slot, host, pid, pools, last_seen)"
        " VALUES ('silent', 'worker', 0, 'here', 1, '{echo}', now() - interval '1 hour')"
    )
    yard.run("UPDATE queue SET lane = 'silent', attempt = 1, claimed_at = now()")
    with steward_of(yard, lease_seconds=0.5):
        wait_until(lambda: yard.state(made)[0] == "starting", 5)
        wait_until(lambda: bells(yard) > 0, 3)
    assert yard.rows("SELECT lane, losses FROM queue") == [(None, 1)]


def test_one_of_several_leads_and_another_takes_over_when_it_goes(yard: Yard) -> None:
    engines = [sync_engine(yard.settings) for _ in range(2)]
    one, two = (Leadership(engine) for engine in engines)
    try:
        assert [one.held(), two.held(), one.held(), two.held()] == [True, False, True, False]
        one.drop()
        wait_until(two.held, 5, "the server to notice that the other has gone")
        assert not one.held()
    finally:
        for leadership in (one, two):
            leadership.drop()
        for engine in engines:
            engine.dispose()


@pytest.mark.slow
def test_a_leader_whose_connection_is_cut_leads_no_more(yard: Yard) -> None:
    leader = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted"
    with steward_of(yard), steward_of(yard):
        wait_until(lambda: len(yard.rows(leader)) == 1, 5)
        ((first,),) = yard.rows(leader)
        yard.run("SELECT pg_terminate_backend(:pid)", pid=first)
        wait_until(lambda: len(yard.rows(leader)) == 1 and yard.rows(leader) != [(first,)], 5)
        # Whoever leads now does the work.
        yard.submit("waits")
        wait_until(lambda: bells(yard) > 0, 3)


@pytest.mark.slow
@pytest.mark.own_database
def test_partitions_that_have_expired_are_dropped_and_new_ones_made(yard: Yard) -> None:
    now = datetime.now(UTC)
    old = now - timedelta(days=60)
    with yard.engine.connect() as connection:
        (old_week,) = ensure_partitions(connection, now=old, weeks_ahead=0)
        for moment in (old, now):
            connection.execute(
                text(
                    "INSERT INTO predictions (id, owner_id, version_id, model_id, status, input,"
                    " created_at, completed_at) VALUES (:id, 'a', 'v', 'm', 'canceled', '{}', :at, :at)"
                ),
                {"id": floor_id(moment), "at": moment},
            )
    blobs = Blobs(yard.blobs)
    for moment in (old, now):
        blobs.put(f"{folder_of('predictions', floor_id(moment))}/1/out.png", b"x")
    yard.run(
        "INSERT INTO idempotency_keys (owner_id, key, prediction_id, digest, created_at)"
        " VALUES ('a', 'old', 'x', '', now() - interval '30 hours'), ('a', 'new', 'y', '', now()),"
        f" ('a', 'put:old', '{floor_id(old)}', '', now() - interval '60 days'),"
        f" ('a', 'put:new', '{floor_id(now)}', '', now() - interval '30 hours')"
    )
    keys = "SELECT key FROM idempotency_keys ORDER BY key"
    with steward_of(yard, retention_days=30):
        wait_until(lambda: yard.rows(keys) == [("new",), ("put:new",)], 30)
    assert yard.rows("SELECT id FROM predictions") == [(floor_id(now),)]
    assert yard.rows(f"SELECT to_regclass('{old_week}')") == [(None,)]
    wait_until(lambda: blobs.names(folder_of("predictions", floor_id(old))) == [], 30)
    assert blobs.names(folder_of("predictions", floor_id(now))) == ["1"]


@pytest.mark.slow
def test_a_steward_outlives_restarts_of_the_database_and_of_redis(
    own_postgres: EmbeddedPostgres, own_valkey: EmbeddedValkey, tmp_path: Path
) -> None:
    yard = Yard(own_postgres.url, own_valkey.url, tmp_path)
    with steward_of(yard):
        yard.submit("before")
        wait_until(lambda: bells(yard) > 0, 5)
        own_valkey.stop()
        own_postgres.stop()
        time.sleep(1)
        own_postgres.start()
        own_valkey.start()
        yard.engine.dispose()
        with redis.Redis.from_url(yard.broker.url()) as client:
            client.flushdb()
        wait_until(lambda: bells(yard) > 0, 10)
    yard.engine.dispose()


@pytest.mark.slow
@pytest.mark.own_database
def test_housekeeping_that_must_wait_for_a_lock_holds_up_nobody(yard: Yard) -> None:
    partitions = "SELECT max(relid::text) FROM pg_partition_tree('predictions') WHERE relid::text ~ '_2'"
    ((furthest,),) = yard.rows(partitions)
    yard.run(f"DROP TABLE {furthest}")
    with yard.engine.connect() as reader:
        reader.exec_driver_sql("BEGIN")
        reader.execute(text("SELECT count(*) FROM predictions"))
        with steward_of(yard):
            wait_until(lambda: yard.rows("SELECT 1 FROM pg_locks WHERE NOT granted") != [], 10)
            began = time.monotonic()
            yard.submit("goes on")
            wait_until(lambda: bells(yard) > 0, 10)
            assert time.monotonic() - began < 10
        reader.exec_driver_sql("ROLLBACK")
    # It comes back later, not at once.
    assert yard.rows(f"SELECT to_regclass('{furthest}')") == [(None,)]
