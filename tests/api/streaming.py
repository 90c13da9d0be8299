"""Streams over a real socket, and what a lane would write for them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx
import uvicorn
from redis.asyncio import Redis

from tests.api.conftest import Served
from workers.messages import StreamEntry, StreamEvent, stream_channel, stream_key


@asynccontextmanager
async def listening(served: Served) -> AsyncIterator[httpx.AsyncClient]:
    """The gateway on a port of its own, for what httpx cannot do without one: answers that do not end."""
    config = uvicorn.Config(served.app, port=0, lifespan="off", log_config=None, timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server._serve())
    try:
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.005)
        port = server.servers[0].sockets[0].getsockname()[1]
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as http:
            yield http
    finally:
        server.should_exit = True
        await serving


@dataclass(frozen=True, slots=True)
class Event:
    """One event as a client takes it off the wire."""

    name: str
    data: str
    id: str


@dataclass(slots=True)
class Listener:
    """A client in the midst of a stream."""

    response: httpx.Response
    comments: int = 0
    events: list[Event] = field(default_factory=list)

    async def read(self) -> AsyncIterator[Event]:
        """Events by the rules of the standard, as far as they matter here."""
        fields: dict[str, list[str]] = {}
        buffer = ""
        async for text in self.response.aiter_text():
            *lines, buffer = (buffer + text).split("\n")
            for line in lines:
                name, _, value = line.partition(": ")
                if not line and fields:
                    event = Event(fields["event"][0], "\n".join(fields["data"]), fields["id"][0])
                    self.events.append(event)
                    yield event
                    fields = {}
                elif line.startswith(":"):
                    self.comments += 1
                elif line:
                    fields.setdefault(name, []).append(value)

    async def rest(self) -> list[Event]:
        """All events to the end."""
        return [event async for event in self.read()]


def path_of(made: dict[str, Any]) -> str:
    """Where the stream of this prediction is to be had."""
    return urlsplit(made["urls"]["stream"]).path


@asynccontextmanager
async def following(
    http: httpx.AsyncClient, made: dict[str, Any], *, since: str | None = None
) -> AsyncIterator[Listener]:
    """Open the stream that a prediction shows, from the event of this id on."""
    headers = {"Last-Event-ID": since} if since else {}
    async with http.stream("GET", path_of(made), headers=headers) as response:
        assert response.status_code == 200, await response.aread()
        yield Listener(response)


async def whole(http: httpx.AsyncClient, made: dict[str, Any], *, since: str | None = None) -> list[Event]:
    """A stream from there to its end."""
    async with asyncio.timeout(20), following(http, made, since=since) as listener:
        return await listener.rest()


def text_in(events: list[Event]) -> str:
    """The text that the output's events make."""
    return "".join(event.data for event in events if event.name == "output")


async def write(
    redis_url: str, prediction_id: str, *entries: tuple[StreamEvent, Any], attempt: int = 1
) -> None:
    """Write entries as a lane does, and wake who reads them. What is no text goes as an item's JSON."""
    async with Redis.from_url(redis_url) as client, client.pipeline() as pipeline:
        for name, value in entries:
            data = value if isinstance(value, str) else json.dumps(value)
            entry = StreamEntry(name, data)
            pipeline.xadd(stream_key(prediction_id, attempt), dict[Any, Any](entry.fields()))
        pipeline.publish(stream_channel(prediction_id), b"")
        await pipeline.execute()
