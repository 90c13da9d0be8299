"""Streams: what running predictions come to, on its way from a lane through Redis to whoever follows them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from typing import cast

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.typing import EncodableT, FieldT

from db.leases import Lease
from workers.messages import STREAM_SECONDS, StreamEntry, stream_channel, stream_key

logger = logging.getLogger(__name__)

REDIS_SECONDS = 0.5
# More than this is not kept for a Redis that is slow, nor in Redis for one prediction.
MAX_WAITING = 10_000
MAX_STREAM_CHARACTERS = 1 << 22
# A stream's expiry is put off once a minute rather than with each entry.
EXPIRY_SLACK_SECONDS = 60


class Stream:
    """The stream of one attempt. Once an entry could not be written, none that come after it are.

    So a stream has no gaps, and who follows it finds the rest in the prediction's row.
    """

    def __init__(self, writer: StreamWriter, lease: Lease) -> None:
        self._writer = writer
        self.key = stream_key(lease.id, lease.attempt)
        self.channel = stream_channel(lease.id)
        self.is_broken = False
        self.characters = 0
        self.expiry_due_at = 0.0

    def add(self, entry: StreamEntry) -> None:
        """Have this written soon. Never waits, never raises. Safe from any thread."""
        self.characters += len(entry.data)
        if self.characters > MAX_STREAM_CHARACTERS:
            self.is_broken = True
        if not self.is_broken:
            self._writer.add(self, entry)


class StreamWriter:
    """Writes the entries of a lane's streams in a thread of its own: all that has gathered, in one go."""

    def __init__(self, redis_url: str) -> None:
        # Not tried again: what may have been written already would be there twice.
        self._client = redis.Redis.from_url(
            redis_url,
            socket_timeout=REDIS_SECONDS,
            socket_connect_timeout=REDIS_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
        self._changed = threading.Condition()
        self._waiting: list[tuple[Stream, StreamEntry]] = []
        self._is_writing = False
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="streams", daemon=True)
        self._thread.start()

    def open(self, lease: Lease) -> Stream:
        """The stream of this attempt."""
        return Stream(self, lease)

    def add(self, stream: Stream, entry: StreamEntry) -> None:
        """See `Stream.add`."""
        with self._changed:
            if len(self._waiting) >= MAX_WAITING:
                stream.is_broken = True
                return
            self._waiting.append((stream, entry))
            self._changed.notify_all()

    def flush(self, timeout_seconds: float) -> bool:
        """Wait until everything is written, no longer than this; whether it is."""
        with self._changed:
            return self._changed.wait_for(
                lambda: not self._waiting and not self._is_writing, timeout=timeout_seconds
            )

    def close(self) -> None:
        """Write what is left, if Redis is there, and stop."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._thread.join()
        self._client.close()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._is_writing = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._waiting or self._is_closed)
                if not self._waiting:
                    return
                entries, self._waiting = self._waiting, []
                self._is_writing = True
            self._write(entries)

    def _write(self, entries: Sequence[tuple[Stream, StreamEntry]]) -> None:
        streams = {id(stream): stream for stream, _ in entries if not stream.is_broken}
        pipeline = self._client.pipeline(transaction=False)
        for stream, entry in _merged(entries):
            if not stream.is_broken:
                pipeline.xadd(stream.key, cast(dict[FieldT, EncodableT], entry.fields()))
        now = time.monotonic()
        for stream in streams.values():
            if now >= stream.expiry_due_at:
                pipeline.expire(stream.key, STREAM_SECONDS + EXPIRY_SLACK_SECONDS)
                stream.expiry_due_at = now + EXPIRY_SLACK_SECONDS
            pipeline.publish(stream.channel, b"")
        try:
            pipeline.execute()
        except redis.RedisError as error:
            logger.warning("%d streams cannot be written any more: %s", len(streams), error)
            for stream in streams.values():
                stream.is_broken = True


def _merged(entries: Sequence[tuple[Stream, StreamEntry]]) -> list[tuple[Stream, StreamEntry]]:
    """Lines of logs that follow each other are one entry; chunks of output stay as they are."""
    merged: list[tuple[Stream, StreamEntry]] = []
    for (stream, event), group in groupby(entries, key=lambda each: (each[0], each[1].event)):
        if event == "logs":
            text = "".join(entry.data for entry in map(itemgetter(1), group))
            merged.append((stream, StreamEntry("logs", text)))
        else:
            merged.extend(group)
    return merged
