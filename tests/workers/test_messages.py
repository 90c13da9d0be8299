"""Bells are what Celery's own producer would send, news is what gateways understand."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
import redis
from celery import Celery

from db.endings import Ended
from db.states import Status
from workers.messages import MAX_BELLS, RING_SCRIPT, SERVE_TASK, bell, decode_news, encode_news, news_of


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as opened:
        yield opened


def shape(value: Any) -> Any:
    """Keys and types, all the way down."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shape(inner) for inner in value]
    return type(value).__name__


def body(message: dict[str, Any]) -> Any:
    return json.loads(base64.b64decode(message["body"]))


def test_a_bell_is_what_celerys_own_producer_puts_into_redis(client: redis.Redis, redis_url: str) -> None:
    app = Celery("another", broker=redis_url, set_as_current=False)
    app.conf.task_ignore_result = True
    app.send_task(SERVE_TASK, ("echo",), queue="echo", ignore_result=True)
    app.close()
    (raw,) = client.lrange("echo", 0, -1)
    theirs, ours = json.loads(raw), json.loads(bell("echo"))
    assert ours.keys() == theirs.keys()
    for part in ("headers", "properties"):
        missing = theirs[part].keys() - ours[part].keys()
        # What only says more about who sent it, or links tasks that belong together.
        assert missing <= {"shadow", "group_index", "stamped_headers", "stamps", "replaced_task_nesting"}
        assert ours[part].keys() <= theirs[part].keys()
    assert body(ours) == body(theirs)
    for name in ("content-type", "content-encoding"):
        assert ours[name] == theirs[name]
    for name in (
        "lang",
        "task",
        "argsrepr",
        "kwargsrepr",
        "retries",
        "eta",
        "expires",
        "timelimit",
        "ignore_result",
    ):
        assert ours["headers"][name] == theirs["headers"][name], name
    for name in ("body_encoding", "delivery_info", "delivery_mode", "priority"):
        assert ours["properties"][name] == theirs["properties"][name], name
    for name in ("correlation_id", "delivery_tag", "reply_to"):
        assert shape(ours["properties"][name]) == shape(theirs["properties"][name]), name


def test_each_bell_is_a_message_of_its_own() -> None:
    one, two = (json.loads(bell("echo")) for _ in range(2))
    assert one["headers"]["id"] != two["headers"]["id"]
    assert one["properties"]["delivery_tag"] != two["properties"]["delivery_tag"]
    assert one["properties"]["correlation_id"] == one["headers"]["id"] == one["headers"]["root_id"]


def test_no_more_than_enough_bells_lie_in_a_queue(client: redis.Redis) -> None:
    ring = client.register_script(RING_SCRIPT)
    rung = [ring(keys=["echo"], args=["echo", bell("echo"), MAX_BELLS]) for _ in range(2 * MAX_BELLS)]
    assert rung == [1] * MAX_BELLS + [0] * MAX_BELLS
    assert client.llen("echo") == MAX_BELLS


def test_news_survive_the_journey() -> None:
    output = {"text": "ünïcödé\0", "number": 2**70, "list": [1.5, None, True]}
    ended = Ended(
        id="0" * 26,
        status=Status.SUCCEEDED,
        output=msgspec.Raw(json.dumps(output).encode()),
        error=None,
        failure=None,
        attempts=2,
        started_at=None,
        completed_at=datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
        waiter="channel",
        webhook=None,
    )
    sent = news_of(ended)
    heard = msgspec.structs.replace(sent, output=output)
    assert decode_news(encode_news([sent, sent])) == [heard, heard]


@pytest.mark.parametrize("payload", [b"", b"{", b"{}", b"[{}]", b"[1]", b"\xff"])
def test_what_is_no_news_is_said_to_be_none(payload: bytes) -> None:
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)):
        decode_news(payload)
