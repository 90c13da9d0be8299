"""Following a prediction: by Redis while a lane writes there, by its row for what Redis cannot tell."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from api import streams
from api.errors import Forbidden
from api.streams import Position, StartedAgain, Telling, Wire
from db import submissions
from db.repositories.streams import StreamState, state_of
from db.repositories.transactions import read
from db.states import Status
from model_types import registry
from workers.messages import StreamEntry, stream_channel, stream_key

if TYPE_CHECKING:
    from api.gateway import Gateway

log = logging.getLogger(__name__)

# A message may be lost, so whoever hears nothing looks for himself.
LOOK_SECONDS = 1.0
# What a reader takes from Redis at a time, and so holds in memory.
BATCH_ENTRIES = 256

_BEGINNING = "-"


class InvalidStreamUrl(Forbidden):
    """The URL of this stream is not one that this server has made, or it has expired."""


def prediction_of(gateway: Gateway, token: str) -> str:
    """The prediction that a URL's last part leads to. Raises `InvalidStreamUrl`."""
    prediction_id = gateway.stream_urls.prediction_of(token)
    if prediction_id is None:
        raise InvalidStreamUrl("this URL is not valid, or has expired: take it as the prediction shows it")
    return prediction_id


class Follower:
    """One client that follows a prediction, at its own pace, from a position on.

    Each source of events is read from its beginning, and what the client has is left out. So it may go on
    with another source, or at another gateway, at any time.
    """

    def __init__(
        self,
        gateway: Gateway,
        prediction_id: str,
        position: Position,
        *,
        base_url: str,
        wire: Wire = streams.event,
    ) -> None:
        """`base_url` is where the URLs of files begin; `wire` writes the events."""
        self._wire = wire
        self._gateway = gateway
        self._id = prediction_id
        self._base_url = base_url
        self._woken = asyncio.Event()
        self._has_ended = False
        self._is_gone = False
        self._is_watched = False
        self._rewind(position, position.attempt)

    def leave(self) -> None:
        """The client has gone: `events` ends soon."""
        self._is_gone = True
        self._woken.set()

    async def events(self) -> AsyncGenerator[bytes, None]:
        """Events as bytes, several at a time where there are several; the last one is `done`."""
        waiting = self._gateway.waiting
        with waiting.expect(self._id) as news, waiting.wake(stream_channel(self._id), self._woken):
            news.add_done_callback(lambda _: self._hear_of_end())
            yield streams.KEEP_ALIVE
            try:
                async for events in self._until_ended():
                    yield events
            except StartedAgain:
                position, detail = self._telling.position, "the prediction had to start again"
                yield streams.broken_off(position, detail, wire=self._wire)

    def _hear_of_end(self) -> None:
        self._has_ended = True
        self._woken.set()

    async def _until_ended(self) -> AsyncIterator[bytes]:
        clock = asyncio.get_running_loop().time
        spoke_at = clock()
        keep_alive_seconds = self._gateway.settings.stream_keep_alive_seconds
        while not self._is_gone:
            self._has_ended = False
            state = await self._look()
            if state is None:
                await self._wait()
            else:
                async for events in self._rest(state) if state.has_ended else self._so_far(state):
                    if events:
                        spoke_at = clock()
                        yield events
                if state.has_ended:
                    return
            if clock() - spoke_at >= keep_alive_seconds:
                spoke_at = clock()
                yield streams.KEEP_ALIVE

    async def _look(self) -> StreamState | None:
        """The prediction's row; None where it cannot be looked at now."""
        engine, channel = self._gateway.engine, self._gateway.waiting.channel
        try:
            if not self._is_watched:
                watched = await submissions.watch(engine, self._id, waiter=channel, listens=True)
                self._is_watched = True
                if watched is not None and not watched.is_claimed:
                    self._gateway.bells.ring([watched.pool])
            state = await read(engine, lambda session: state_of(session, self._id))
        except SQLAlchemyError as error:
            log.warning("the row of a stream cannot be looked at now: %s", error)
            return None
        # What has been deleted after its time has no more to tell.
        return state or StreamState(Status.SUCCEEDED, 0, None, "", None, None)

    async def _wait(self) -> bool:
        """Return when there may be news; False when there has been no sign of them."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_SECONDS):
                await self._woken.wait()
        is_woken = self._woken.is_set()
        self._woken.clear()
        return is_woken

    async def _so_far(self, state: StreamState) -> AsyncIterator[bytes]:
        """What a running attempt writes, until nothing has come for a moment."""
        self._turn_to(state.attempt)
        yield self._told_by(state)
        try:
            async for events in self._written(state, waits=True):
                yield events
        except RedisError:
            # The process's listener has told the log of it.
            await self._wait()

    async def _rest(self, state: StreamState) -> AsyncIterator[bytes]:
        """What is left of a prediction that has ended, and its end."""
        if state.status != Status.SUCCEEDED:
            # What it had written is in Redis alone.
            self._turn_to(state.attempt)
            try:
                async for events in self._written(state, waits=False):
                    yield events
            except RedisError as error:
                log.warning("what was written before a failure is lost to a reader: %s", error)
        yield self._told_by(state)
        position = self._telling.position
        if state.status == Status.FAILED:
            detail = state.error or "the prediction has failed"
            yield streams.broken_off(position, detail, wire=self._wire)
        else:
            reason = "canceled" if state.status == Status.CANCELED else None
            yield streams.done(position, reason, wire=self._wire)

    def _turn_to(self, attempt: int) -> None:
        if attempt != self._telling.attempt:
            self._rewind(self._telling.position, attempt)

    def _rewind(self, position: Position, attempt: int) -> None:
        """Read what Redis has of an attempt from its beginning."""
        self._telling = Telling(position, attempt, show=self._shown, wire=self._wire)
        self._entry = _BEGINNING

    async def _written(self, state: StreamState, *, waits: bool) -> AsyncIterator[bytes]:
        """Events of what the lane has written since the last time.

        With `waits`, until nothing more has come for a moment, or somebody is woken by something else.
        Raises `RedisError`.
        """
        key = stream_key(self._id, state.attempt)
        has_waited = False
        while True:
            # redis-py's types tell of all that a client may be set to decode.
            found = await self._gateway.redis.xrange(key, self._entry, count=BATCH_ENTRIES)
            entries = cast(list[tuple[bytes, dict[bytes, bytes]]], found)
            if entries:
                self._entry = "(" + entries[-1][0].decode()
                yield b"".join([self._told(StreamEntry.read(fields)) for _, fields in entries])
            elif has_waited:
                return
            if len(entries) < BATCH_ENTRIES:
                is_over = self._has_ended or self._is_gone
                if is_over or not waits or not await self._wait():
                    return
                has_waited = True

    def _told(self, entry: StreamEntry) -> bytes:
        if entry.event == "logs":
            return self._telling.logs(entry.data)
        return self._telling.output(json.loads(entry.data) if entry.event == "item" else entry.data)

    def _told_by(self, state: StreamState) -> bytes:
        """Events of what the row tells and Redis has not told."""
        telling = Telling(self._telling.position, state.attempt, show=self._shown, wire=self._wire)
        logs = telling.logs(state.logs)
        output = [telling.output(piece) for piece in _pieces(state)]
        if state.status == Status.SUCCEEDED and state.output is not None:
            telling.end()
        if telling.position != self._telling.position:
            self._rewind(telling.position, state.attempt)
        return logs + b"".join(output)

    def _shown(self, value: Any) -> Any:
        return self._gateway.blob_urls.rendered(value, "predictions", self._id, base_url=self._base_url)


def _pieces(state: StreamState) -> Iterator[Any]:
    """What of the output are events of their own."""
    try:
        info = registry.get(state.model_type or "")
    except registry.UnknownModelType:
        return streams.pieces(state.output, None)
    has_text = info.text_field is not None and isinstance(state.output, dict)
    return streams.pieces(state.output.get(info.text_field) if has_text else state.output, info.chunks)
