"""Streams of predictions: from the beginning for everybody, on from any event, to the right end."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis
from sqlalchemy import text

from api.services import streams
from cli.embedded import free_port
from db.states import Status
from tests.api.asking import LaneByHand, add_model, ask, cancel, lane_by_hand, look, until, until_queued
from tests.api.conftest import BASE_URL, Serve, Served
from tests.api.streaming import following, listening, path_of, text_in, whole, write
from workers.messages import StreamEvent

pytestmark = pytest.mark.anyio


@dataclass
class Scene:
    """A gateway that listens, a lane by hand, and a prediction that waits."""

    served: Served
    http: httpx.AsyncClient
    lane: LaneByHand
    redis_url: str
    root: dict[str, str]
    made: dict[str, Any]

    @property
    def id(self) -> str:
        return str(self.made["id"])

    async def write(self, *entries: tuple[StreamEvent, Any], attempt: int = 1) -> None:
        await write(self.redis_url, self.id, *entries, attempt=attempt)

    async def execute(self, statement: str, **values: Any) -> None:
        async with self.served.gateway.engine.connect() as connection:
            await connection.execute(text(statement), {"id": self.id} | values)

    async def tell_partly(self, output: Any, logs: str = "", *, attempt: int = 1) -> None:
        """Write into the database how far a lane has come."""
        await self.execute(
            "INSERT INTO partials (id, attempt, output, logs) VALUES (:id, :attempt, :output, :logs)"
            " ON CONFLICT (id) DO UPDATE SET (attempt, output, logs) ="
            " (excluded.attempt, excluded.output, excluded.logs)",
            attempt=attempt,
            output=json.dumps(output),
            logs=logs,
        )


@pytest.fixture
async def scene(served: Served, database_url: str, redis_url: str) -> AsyncIterator[Scene]:
    root = await served.admin()
    await add_model(served, root)
    made = await ask(served, root, input={"text": "hello"})
    async with listening(served) as http, lane_by_hand(database_url, redis_url) as lane:
        yield Scene(served, http, lane, redis_url, root, made)


@pytest.mark.slow
async def test_a_client_that_is_there_first_is_told_each_chunk_as_it_comes(scene: Scene) -> None:
    async with following(scene.http, scene.made) as listener:
        await until_queued(scene.served, which="listened")
        events = listener.read()
        leases = await scene.lane.claim()
        for chunk in ("he", "l"):
            began = time.monotonic()
            await scene.write(("output", chunk))
            assert (await anext(events)).data == chunk
            assert time.monotonic() - began < 0.3
        await scene.write(("logs", "nearly there\n"), ("output", "lo"))
        assert [(await anext(events)).name for _ in range(2)] == ["logs", "output"]
        began = time.monotonic()
        await scene.lane.finish(leases)
        assert [event.data async for event in events] == ["{}"]
        assert time.monotonic() - began < 0.3
    assert [event.data for event in listener.events] == ["he", "l", "nearly there\n", "lo", "{}"]
    assert listener.response.headers["Content-Type"].startswith("text/event-stream")
    assert listener.response.headers["Cache-Control"] == "no-cache"
    assert listener.comments >= 1


@pytest.mark.slow
async def test_who_comes_late_is_told_all_of_it_and_who_comes_back_the_rest(
    scene: Scene, serve: Serve
) -> None:
    (lease,) = await scene.lane.claim()
    chunks = ["Off ", "with ", "her\n", "head!"]
    async with serve() as another, listening(another) as elsewhere:
        async with following(scene.http, scene.made) as first:
            await scene.write(*(("output", chunk) for chunk in chunks[:2]))
            events = first.read()
            seen = [await anext(events) for _ in range(2)]
        # In the midst of it, at another gateway.
        async with following(elsewhere, scene.made, since=seen[0].id) as second:
            later = second.read()
            assert (await anext(later)).data == chunks[1]
            await scene.write(*(("output", chunk) for chunk in chunks[2:]), ("logs", "100%"))
            await scene.lane.end(lease, output=json.dumps(chunks), logs="100%")
            assert text_in([event async for event in later]) == "her\nhead!"
        # And when all is over.
        every = await whole(elsewhere, scene.made)
        assert [event.data for event in every] == ["100%", *chunks, "{}"]
        for event, following_ones in ((every[1], every[2:]), (every[4], every[5:]), (seen[1], every[3:])):
            rest = await whole(scene.http, scene.made, since=event.id)
            assert text_in(rest) == text_in(following_ones)
            assert rest[-1].name == "done"
        path = path_of(scene.made)
        asked = await scene.http.get(path, params={"last_event_id": every[-2].id})
        assert asked.text.count("event: ") == 1
        over = await scene.http.get(path, headers={"Last-Event-ID": every[-1].id})
        assert (over.status_code, over.content) == (204, b"")


@pytest.mark.slow
async def test_a_text_that_is_stored_whole_is_resumed_within(scene: Scene) -> None:
    (lease,) = await scene.lane.claim()
    async with following(scene.http, scene.made) as listener:
        await scene.write(("output", "hel"))
        first = await anext(listener.read())
    await scene.lane.end(lease, output=json.dumps("hello"))
    assert text_in(await whole(scene.http, scene.made, since=first.id)) == "lo"


@pytest.mark.slow
async def test_a_cancellation_and_a_failure_end_a_stream_and_keep_what_was_written(scene: Scene) -> None:
    async with following(scene.http, scene.made) as listener:
        await until_queued(scene.served, which="listened")
        await cancel(scene.served, scene.root, scene.id)
        (event,) = await listener.rest()
        assert (event.name, event.data) == ("done", '{"reason":"canceled"}')
    made = await ask(scene.served, scene.root)
    (lease,) = await scene.lane.claim()
    await write(scene.redis_url, made["id"], ("output", "so far, "), ("output", "so good"))
    await scene.lane.end(lease, Status.FAILED, error="no luck", logs="alas\n")
    events = await whole(scene.http, made)
    assert text_in(events) == "so far, so good"
    assert [(event.name, event.data) for event in events[2:]] == [
        ("logs", "alas\n"),
        ("error", '{"detail":"no luck"}'),
        ("done", '{"reason":"error"}'),
    ]


@pytest.mark.slow
@pytest.mark.parametrize(("again", "goes_on"), [("hello", True), ("Hello", False)])
async def test_another_attempt_goes_on_where_the_first_one_was_if_it_says_the_same(
    scene: Scene, again: str, goes_on: bool
) -> None:
    async with following(scene.http, scene.made) as listener:
        leases = await scene.lane.claim()
        await scene.write(("output", "hel"), ("logs", "one\n"))
        events = listener.read()
        assert [(await anext(events)).data for _ in range(2)] == ["hel", "one\n"]
        await scene.lane.give_back(leases)
        (lease,) = await scene.lane.claim()
        await scene.write(("logs", "two\n"), ("output", again[:4]), ("output", again[4:]), attempt=2)
        await scene.lane.end(lease, output=json.dumps(again), logs="two\n")
        rest = [event async for event in events]
    assert text_in(rest) == ("lo" if goes_on else "")
    told = [(event.name, event.data) for event in rest if event.name != "output"]
    if goes_on:
        assert told == [("logs", "two\n"), ("done", "{}")]
    else:
        assert told[-2:] == [
            ("error", '{"detail":"the prediction had to start again"}'),
            ("done", '{"reason":"error"}'),
        ]


@pytest.mark.slow
async def test_an_end_is_heard_at_once_at_every_gateway(scene: Scene, serve: Serve) -> None:
    async with (
        serve() as another,
        listening(another) as elsewhere,
        following(scene.http, scene.made) as here,
        following(elsewhere, scene.made) as there,
    ):
        await until_queued(scene.served, which="waiter LIKE '%,%'")
        began = time.monotonic()
        await cancel(scene.served, scene.root, scene.id)
        for listener in (here, there):
            assert [event.data for event in await listener.rest()] == ['{"reason":"canceled"}']
        assert time.monotonic() - began < streams.LOOK_SECONDS / 2


@pytest.mark.slow
async def test_a_lane_that_came_while_the_row_was_written_is_called_again(scene: Scene) -> None:
    async with Redis.from_url(scene.redis_url) as client:
        await scene.write(("output", "hello"))

        async def bells_after_following() -> int:
            await scene.served.gateway.bells.close()
            await client.delete("echo")
            async with following(scene.http, scene.made) as listener:
                await anext(listener.read())
            await scene.served.gateway.bells.close()
            return int(await client.llen("echo"))

        assert await bells_after_following() == 1
        await scene.lane.claim()
        assert await bells_after_following() == 0


@pytest.mark.slow
async def test_polls_show_what_there_is_so_far_of_the_present_attempt(scene: Scene) -> None:
    leases = await scene.lane.claim()
    await scene.tell_partly("hel", "one\n")
    shown = await look(scene.served, scene.root, scene.id)
    assert (shown["status"], shown["output"], shown["logs"]) == ("processing", "hel", "one\n")
    await scene.lane.give_back(leases)
    waiting = await look(scene.served, scene.root, scene.id)
    assert (waiting["status"], waiting["output"], waiting["logs"]) == ("starting", None, "")
    (lease,) = await scene.lane.claim()
    assert (await look(scene.served, scene.root, scene.id))["output"] is None
    await scene.lane.end(lease, output=json.dumps("hello"), logs="two\n")
    ended = await look(scene.served, scene.root, scene.id)
    assert (ended["status"], ended["output"], ended["logs"]) == ("succeeded", "hello", "two\n")


@pytest.mark.slow
async def test_without_redis_a_stream_goes_by_the_row(
    serve: Serve, database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "LOOK_SECONDS", 0.05)
    async with serve(redis=f"redis://127.0.0.1:{free_port()}/0") as served, listening(served) as http:
        root = await served.admin()
        await add_model(served, root)
        made = await ask(served, root, input={"text": "hello"})
        async with lane_by_hand(database_url, redis_url) as lane, following(http, made) as listener:
            scene = Scene(served, http, lane, redis_url, root, made)
            leases = await lane.claim()
            events = listener.read()
            for so_far, fresh in (("he", "he"), ("hell", "ll")):
                await scene.tell_partly(so_far)
                assert (await anext(events)).data == fresh
            await lane.finish(leases)
            assert [event.data async for event in events] == ["o", "{}"]


@pytest.mark.slow
async def test_what_a_lane_could_not_write_to_redis_is_told_by_the_row(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "LOOK_SECONDS", 0.05)
    (lease,) = await scene.lane.claim()
    async with following(scene.http, scene.made) as listener:
        events = listener.read()
        await scene.write(("output", "he"))
        assert (await anext(events)).data == "he"
        await scene.tell_partly("hell", "slowly\n")
        assert [(await anext(events)).data for _ in range(2)] == ["slowly\n", "ll"]
        await scene.lane.end(lease, output=json.dumps("hello"), logs="slowly\n")
        assert [event.data async for event in events] == ["o", "{}"]


@pytest.mark.slow
async def test_items_are_told_one_by_one_and_files_by_their_urls(scene: Scene) -> None:
    await scene.execute("UPDATE model_versions SET model_type = 'custom'")
    (lease,) = await scene.lane.claim()
    file = f"blob:predictions/{scene.id[:5]}/{scene.id}/1/out-0.png"
    items = [{"step": 1}, "plain", file]
    async with following(scene.http, scene.made) as listener:
        await scene.write(*(("item", json.dumps(item)) for item in items[:2]))
        events = listener.read()
        assert [(await anext(events)).data for _ in range(2)] == ['{"step":1}', "plain"]
        await scene.lane.end(lease, output=json.dumps(items))
        rest = [event async for event in events]
    url = rest[0].data
    assert url.startswith(f"{str(scene.http.base_url).rstrip('/')}/v1/blobs/predictions/")
    assert [event.name for event in rest] == ["output", "done"]
    again = await whole(scene.http, scene.made)
    assert [event.data for event in again] == ['{"step":1}', "plain", url, "{}"]


@pytest.mark.slow
async def test_who_goes_away_leaves_nothing_behind(scene: Scene) -> None:
    waiting = scene.served.gateway.waiting
    async with Redis.from_url(scene.redis_url) as client:

        async def channels() -> int:
            return len(await client.pubsub_channels(f"augury:stream:{scene.id}*"))

        async with following(scene.http, scene.made), following(scene.http, scene.made) as listener:
            async with asyncio.timeout(5):
                while await channels() == 0:  # noqa: ASYNC110 - Redis has no event for it
                    await asyncio.sleep(0.01)
            assert await channels() == 1
            assert listener.response.status_code == 200
        await until(lambda: not waiting._sleepers and not waiting._futures)
        async with asyncio.timeout(5):
            while await channels():  # noqa: ASYNC110
                await asyncio.sleep(0.01)


@pytest.mark.slow
async def test_a_client_that_does_not_read_holds_up_nobody_and_fills_no_memory(scene: Scene) -> None:
    (lease,) = await scene.lane.claim()
    page = "x" * (1 << 16)
    with socket.socket() as idle:
        idle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        idle.connect(("127.0.0.1", scene.http.base_url.port))
        idle.sendall(f"GET {path_of(scene.made)} HTTP/1.1\r\nHost: here\r\n\r\n".encode())
        await until_queued(scene.served, which="listened")
        async with following(scene.http, scene.made) as listener:
            for _ in range(5):
                await scene.write(*(("output", page) for _ in range(30)))
            await scene.lane.end(lease, output=json.dumps(page * 150))
            assert len(text_in(await listener.rest())) == 150 * len(page)
        # What it does not take is not made: its events wait where they are stored.
        assert list(scene.served.gateway.waiting._futures) == [scene.id]
    await until(lambda: not scene.served.gateway.waiting._futures)


@pytest.mark.slow
async def test_a_silent_stream_is_kept_alive(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(scene.served.gateway.settings, "stream_keep_alive_seconds", 0.05)
    async with following(scene.http, scene.made) as listener:
        reading = asyncio.create_task(listener.rest())
        await until(lambda: listener.comments >= 4)
        await cancel(scene.served, scene.root, scene.id)
        assert [event.name for event in await reading] == ["done"]


@pytest.mark.slow
async def test_a_url_opens_one_stream_without_a_token_and_with_any(scene: Scene) -> None:
    await cancel(scene.served, scene.root, scene.id)
    assert scene.made["urls"]["stream"].startswith(f"{BASE_URL}/v1/streams/")
    for headers in ({}, scene.root, {"Authorization": "Bearer nonsense"}, {"Accept": "application/json"}):
        opened = await scene.http.get(path_of(scene.made), headers=headers)
        assert opened.status_code == 200
        assert opened.text.endswith('event: done\ndata: {"reason":"canceled"}\n\n')
    refused = await scene.http.get(f"/v1/streams/{scene.id}-ffffffff-{'0' * 64}")
    assert refused.status_code == 403
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert refused.json()["type"] == "urn:augury:error:invalid-stream-url"


@pytest.mark.slow
async def test_what_has_been_deleted_after_its_time_is_over_at_once(scene: Scene) -> None:
    for table in ("queue", "predictions"):
        await scene.execute(f"DELETE FROM {table} WHERE id = :id")
    assert [event.data for event in await whole(scene.http, scene.made)] == ["{}"]
