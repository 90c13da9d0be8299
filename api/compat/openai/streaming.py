"""Texts told while they are written: one stream of chunks for all choices of a request."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from functools import partial
from typing import Protocol

from pydantic import BaseModel

from api.compat.openai.errors import error_object
from api.compat.openai.requests import while_connected
from api.compat.openai.running import Call, finish_reason, usage_of
from api.compat.openai.schemas.chat import FinishReason
from api.compat.openai.schemas.fields import Usage
from api.event_stream import EventStream
from api.services.streams import Follower
from api.stopping import stop
from api.streams import EventName, Position
from db.documents import PredictionRecord

_DONE = b"data: [DONE]\n\n"


class Chunks(Protocol):
    """How a kind of completion writes what is new of a choice."""

    def first(self, choice: int) -> BaseModel | None:
        """What comes before the choice's text."""
        ...

    def text(self, choice: int, text: str) -> BaseModel:
        """The next piece of the choice's text."""
        ...

    def last(self, choice: int, reason: FinishReason) -> BaseModel:
        """The end of the choice."""
        ...


# Writes the end of all.
UsageChunk = Callable[[Usage], BaseModel]


async def streamed(
    call: Call,
    records: Sequence[PredictionRecord],
    chunks: Chunks,
    *,
    choices: int = 1,
    usage: UsageChunk | None = None,
) -> EventStream:
    """The answer that tells the records' texts. It begins with the first piece of text.

    So what fails before that is raised here, and answered with an error's status: as `Call.run`. So many
    `choices` in a row share a prompt. Without `usage` nothing is told of it.
    """
    stream = TextStream(call, records, chunks, choices=choices, usage=usage)
    try:
        await while_connected(call.request, stream.begin())
    except BaseException:  # a cancellation too: nobody else would close it
        await stream.close()
        raise
    return EventStream(stream)


class TextStream:
    """The events of a request's predictions, as they come. They are canceled when it is closed too early."""

    def __init__(
        self,
        call: Call,
        records: Sequence[PredictionRecord],
        chunks: Chunks,
        *,
        choices: int,
        usage: UsageChunk | None,
    ) -> None:
        self._call = call
        self._records = list(records)
        self._chunks = chunks
        self._choices = choices
        self._usage = usage
        self._open = len(records)
        # Bytes are events, an error ends it all, and None ends a choice or tells that the client has gone.
        self._queue: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()
        self._is_gone = False
        self._first = b""
        self._following = [asyncio.create_task(self._follow(index)) for index in range(len(records))]

    async def begin(self) -> None:
        """Return when there is something to tell. Raises what has ended it before."""
        while not self._first and self._open:
            part = await self._queue.get()
            if isinstance(part, Exception):
                raise part
            if part is None:
                self._open -= 1
            else:
                self._first = part

    def leave(self) -> None:
        """The client has gone: `events` ends soon."""
        self._is_gone = True
        self._queue.put_nowait(None)

    async def events(self) -> AsyncGenerator[bytes, None]:
        """Chunks, and `[DONE]` or an error."""
        try:
            yield self._first
            while self._open and not self._is_gone:
                part = await self._queue.get()
                if isinstance(part, Exception):
                    yield b"data: " + json.dumps({"error": error_object(part)}).encode() + b"\n\n"
                    return
                if part is None:
                    self._open -= 1
                else:
                    yield part
            if not self._is_gone:
                if self._usage is not None:
                    yield self._event(self._usage(usage_of(self._records, choices=self._choices)))
                yield _DONE
        finally:
            await self.close()

    async def close(self) -> None:
        """Stop following, and cancel what has not ended."""
        await stop(*self._following)
        await self._call.cancel([record for record in self._records if record.completed_at is None])

    async def _follow(self, index: int) -> None:
        """Queue a prediction's events to its end."""
        call, record = self._call, self._records[index]
        first = self._chunks.first(index)
        opening = b"" if first is None else self._event(first)
        follower = Follower(
            call.gateway, record.id, Position(), base_url="", wire=partial(self._written, index)
        )
        try:
            async with aclosing(follower.events()) as parts:
                await anext(parts)  # a sign of life, before there is any
                async for part in parts:
                    if part:
                        self._queue.put_nowait(opening + part)
                        opening = b""
            self._records[index] = await call.end_of(record)
            last = self._chunks.last(index, finish_reason(self._records[index]))
            self._queue.put_nowait(opening + self._event(last))
            self._queue.put_nowait(None)
        except Exception as error:
            self._queue.put_nowait(error)

    def _written(self, index: int, name: EventName, data: str, _: str) -> bytes:
        """An event of a prediction as a chunk; what has ended it is read from its row."""
        return self._event(self._chunks.text(index, data)) if name == "output" else b""

    def _event(self, chunk: BaseModel) -> bytes:
        data = chunk.model_dump_json(exclude={"usage"} if self._usage is None else None)
        return b"data: " + data.encode() + b"\n\n"
