"""What travels through Redis: bells to lanes; to gateways, news of what has ended and chunks of what runs.

Nothing here is the truth: a lost message costs time, a repeated one nothing.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import cache
from typing import Any, Literal, NamedTuple, cast
from uuid import uuid4

import msgspec

from db.documents import PredictionRecord
from db.endings import Ended

SERVE_TASK = "augury.serve"

# As many bells as may lie in one queue: each wakes a lane, and a lane that leaves a backlog rings again.
MAX_BELLS = 16

# Lanes that stay by the door, the last one to come first, as `idle_entry` writes them. The list is worth
# nothing after a restart, so no script has it written to disk: that would delay every bell.
IDLE = "augury:idle"

# Wakes a lane of the pool that stays by the door, by what `Ring.written` gives, and takes those off the list
# that have died there. Returns the number of lanes that were woken: 0 or 1.
_WAKE = f"""
redis.set_repl(redis.REPL_NONE)
for _, lane in ipairs(redis.call('LRANGE', '{IDLE}', 0, -1)) do
    if string.find(lane, ',' .. KEYS[1] .. ',', 1, true) then
        local door = 'augury:door:' .. string.match(lane, '^[^,]+')
        redis.call('LREM', '{IDLE}', 1, lane)
        if redis.call('PUBLISH', door, ARGV[1]) > 0 then return 1 end
    end
end
"""
WAKE_SCRIPT = f"{_WAKE} return 0"

# Wakes a lane as `WAKE_SCRIPT` does; where there is none, leaves a bell for Celery unless enough bells lie
# there already. Returns the number of bells that were rung: 0 or 1.
RING_SCRIPT = f"""
{_WAKE}
redis.set_repl(redis.REPL_ALL)
if redis.call('LLEN', KEYS[1]) < tonumber(ARGV[3]) then redis.call('LPUSH', KEYS[1], ARGV[2]) return 1 end
return 0
"""

# A lane comes to the door. Returns the pool (of KEYS) whose bell lies there for Celery, which it takes along.
ENTER_SCRIPT = f"""
for _, pool in ipairs(KEYS) do
    if redis.call('RPOP', pool) then return pool end
end
redis.set_repl(redis.REPL_NONE)
redis.call('LPUSH', '{IDLE}', ARGV[1])
return false
"""

# A lane leaves the door. Returns 0 where somebody has woken it meanwhile, else 1.
LEAVE_SCRIPT = f"redis.set_repl(redis.REPL_NONE) return redis.call('LREM', '{IDLE}', 1, ARGV[1])"


class Ring(NamedTuple):
    """What wakes a lane by the door: work waits in the pool, or `expected` is about to be committed to it."""

    pool: str
    expected: str | None = None

    def written(self) -> str:
        """`pool`, or `pool id`: neither has spaces."""
        return self.pool if self.expected is None else f"{self.pool} {self.expected}"

    @classmethod
    def read(cls, written: bytes | str) -> Ring:
        """What `written` gave, or the pool of a bell."""
        text = written.decode() if isinstance(written, bytes) else written
        pool, _, expected = text.partition(" ")
        return cls(pool, expected or None)


def door_of(name: str) -> str:
    """The channel on which a lane by the door hears who rings; it listens all the time that it is there."""
    return f"augury:door:{name}"


def idle_entry(name: str, pools: Iterable[str]) -> str:
    """How a lane by the door is written: `name,pool,pool,`."""
    return f"{name},{','.join(pools)},"


def bell(pool: str) -> str:
    """A Celery message that calls `augury.serve(pool)`, as kombu's Redis transport stores it.

    Celery's message protocol 2 (docs.celeryq.dev, "Message Protocol"), in kombu's virtual-transport
    envelope. Written here so that a gateway needs neither Celery nor its publisher, which cost more
    than the whole request. Each has an id of its own.
    """
    return _bell(pool).replace(_ID, str(uuid4()))


_ID = "{id}"


@cache
def _bell(pool: str) -> str:
    """The bell of a pool, with `_ID` where its id belongs."""
    body = json.dumps([[pool], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}])
    return json.dumps(
        {
            "body": base64.b64encode(body.encode()).decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": _headers(_ID, pool),
            "properties": {
                "correlation_id": _ID,
                "reply_to": "",
                "delivery_mode": 2,
                "delivery_info": {"exchange": "", "routing_key": pool},
                "priority": 0,
                "body_encoding": "base64",
                "delivery_tag": _ID,
            },
        }
    )


def _headers(identifier: str, pool: str) -> dict[str, Any]:
    return {
        "lang": "py",
        "task": SERVE_TASK,
        "id": identifier,
        "root_id": identifier,
        "parent_id": None,
        "group": None,
        "argsrepr": repr((pool,)),
        "kwargsrepr": "{}",
        "origin": "augury",
        "ignore_result": True,
        "retries": 0,
        "eta": None,
        "expires": None,
        "timelimit": [None, None],
    }


class News(msgspec.Struct, frozen=True):
    """A prediction has ended: what a waiting gateway needs in order to answer without asking the database."""

    id: str
    status: str
    output: Any
    error: str | None
    failure: str | None
    attempts: int
    started_at: datetime | None
    completed_at: datetime
    logs: str = ""
    metrics: dict[str, float | str] | None = None


def news_of(ended: Ended | PredictionRecord) -> News:
    """The news that this one has ended."""
    assert ended.completed_at is not None, "news is of what has ended"
    return News(
        id=ended.id,
        status=ended.status,
        output=ended.output,
        error=ended.error,
        failure=ended.failure,
        attempts=ended.attempts,
        started_at=ended.started_at,
        completed_at=ended.completed_at,
        logs=ended.logs,
        metrics=ended.metrics,
    )


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(list[News])


def encode_news(news: Iterable[News]) -> bytes:
    """The payload of one publication."""
    return _encoder.encode(list(news))


def decode_news(payload: bytes) -> list[News]:
    """What `encode_news` made. Raises `msgspec.DecodeError` and `UnicodeDecodeError`."""
    return _decoder.decode(payload)


def news_channel(gateway_id: str) -> str:
    """The channel on which one gateway process listens."""
    return f"augury:news:{gateway_id}"


# After its last entry a stream stays for so long.
STREAM_SECONDS = 3600


StreamEvent = Literal["output", "item", "logs"]


class StreamEntry(NamedTuple):
    """A piece of what a running prediction writes: a chunk of its output, or of its logs.

    `data` is text; of an item of an output whose items come one by one, its JSON.
    """

    event: StreamEvent
    data: str

    def fields(self) -> dict[str, bytes]:
        """What XADD takes. Half characters, which UTF-8 has no bytes for, become question marks."""
        return {"e": self.event.encode(), "d": self.data.encode("utf-8", "replace")}

    @classmethod
    def read(cls, fields: Mapping[bytes, bytes]) -> StreamEntry:
        """The entry in the fields that XRANGE and XREAD give. Raises `KeyError`."""
        event = cast(StreamEvent, fields[b"e"].decode())
        return cls(event, fields[b"d"].decode())


def stream_key(prediction_id: str, attempt: int) -> str:
    """The Redis stream of what one attempt has come to, from its beginning or from its first listener on.

    A lane that cannot write an entry writes no later ones: what is there is without gaps.
    """
    return f"augury:stream:{prediction_id}:{attempt}"


def stream_channel(prediction_id: str) -> str:
    """The channel with an empty message for each time that entries have been added to the stream."""
    return f"augury:stream:{prediction_id}"
