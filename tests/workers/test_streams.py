"""Streams in Redis: entries in their order, without gaps, and a lane that waits for nobody."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import redis
from msgspec.structs import replace

from cli.embedded import free_port
from cli.valkey import EmbeddedValkey
from db.ids import new_id
from db.leases import Lease
from tests.stack import wait_until
from workers.messages import STREAM_SECONDS, StreamEntry, stream_channel, stream_key
from workers.streams import MAX_STREAM_CHARACTERS, MAX_WAITING, StreamWriter


def lease() -> Lease:
    return Lease(new_id(), "lane", 1, 0, 1, {}, "ann", None, datetime.now(UTC))


def output(text: str) -> StreamEntry:
    return StreamEntry("output", text)


def logs(text: str) -> StreamEntry:
    return StreamEntry("logs", text)


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as opened:
        yield opened


@pytest.fixture
def writer(redis_url: str) -> Iterator[StreamWriter]:
    opened = StreamWriter(redis_url)
    yield opened
    opened.close()


def entries(client: redis.Redis, of: Lease) -> list[StreamEntry]:
    # Any: the client's annotations allow for answers that have been decoded.
    found: Any = client.xrange(stream_key(of.id, of.attempt))
    return [StreamEntry.read(fields) for _, fields in found]


def test_chunks_stay_apart_and_lines_of_logs_may_come_together(
    client: redis.Redis, writer: StreamWriter
) -> None:
    made = lease()
    stream = writer.open(made)
    for entry in (output("a"), output("b"), logs("1\n"), logs("2\n"), output("ü\nc")):
        stream.add(entry)
    assert writer.flush(5)
    found = entries(client, made)
    assert [entry.data for entry in found if entry.event == "output"] == ["a", "b", "ü\nc"]
    assert "".join(entry.data for entry in found if entry.event == "logs") == "1\n2\n"
    assert found[:2] == [output("a"), output("b")]
    assert found[-1] == output("ü\nc")


def test_each_attempt_has_a_stream_of_its_own(client: redis.Redis, writer: StreamWriter) -> None:
    first = lease()
    second = replace(first, attempt=2)
    writer.open(first).add(output("first"))
    writer.open(second).add(output("second"))
    assert writer.flush(5)
    assert (entries(client, first), entries(client, second)) == ([output("first")], [output("second")])


def test_who_listens_is_woken_and_the_stream_goes_after_an_hour(
    client: redis.Redis, writer: StreamWriter
) -> None:
    made = lease()
    with client.pubsub(ignore_subscribe_messages=True) as listening:  # type: ignore[no-untyped-call]  # redis
        listening.subscribe(stream_channel(made.id))
        wait_until(lambda: client.pubsub_numsub(stream_channel(made.id))[0][1] == 1, 5)
        writer.open(made).add(output("a"))
        wait_until(lambda: listening.get_message() is not None, 5)
    assert entries(client, made) == [output("a")]
    assert STREAM_SECONDS <= client.ttl(stream_key(made.id, 1)) <= STREAM_SECONDS + 60


@pytest.mark.slow
def test_without_redis_nobody_waits_and_a_stream_has_no_gap(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    port = free_port()
    writer = StreamWriter(f"redis://127.0.0.1:{port}/0")
    made = lease()
    stream = writer.open(made)
    began = time.monotonic()
    stream.add(output("lost"))
    assert time.monotonic() - began < 0.1
    wait_until(lambda: stream.is_broken, 5)
    assert "cannot be written any more" in caplog.text
    with EmbeddedValkey(tmp_path / "valkey", port=port) as server, redis.Redis.from_url(server.url) as client:
        stream.add(output("after a gap"))
        later = lease()
        writer.open(later).add(output("new"))
        assert writer.flush(5)
        assert entries(client, made) == []
        assert entries(client, later) == [output("new")]
        writer.close()


@pytest.mark.slow
def test_a_redis_that_hangs_holds_nobody_up(own_valkey: EmbeddedValkey) -> None:
    writer = StreamWriter(own_valkey.url)
    stream = writer.open(lease())
    stream.add(output("a"))
    assert writer.flush(5)
    with redis.Redis.from_url(own_valkey.url) as client:
        client.client_pause(1000)
    began = time.monotonic()
    stream.add(output("b"))
    assert not writer.flush(0.005)
    assert time.monotonic() - began < 0.1
    wait_until(lambda: stream.is_broken, 5)
    writer.close()


def test_more_than_can_be_kept_breaks_the_stream_it_belongs_to(
    redis_url: str, client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    writer = StreamWriter(redis_url)
    endless, short = lease(), lease()
    stream = writer.open(endless)
    chunk = "x" * (MAX_STREAM_CHARACTERS // 4)
    for _ in range(6):
        stream.add(output(chunk))
    writer.open(short).add(output("a"))
    assert writer.flush(10)
    assert stream.is_broken
    assert len(entries(client, endless)) <= 4
    assert entries(client, short) == [output("a")]
    writer.close()


@pytest.mark.slow
def test_a_closed_writer_keeps_no_more_than_so_many(redis_url: str) -> None:
    writer = StreamWriter(redis_url)
    writer.close()
    stream = writer.open(lease())
    for _ in range(MAX_WAITING):
        stream.add(output("a"))
    assert not stream.is_broken
    stream.add(output("a"))
    assert stream.is_broken
