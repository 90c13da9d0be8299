"""Streams by replicate 1.0, which drops events without an id and refuses names that it does not know."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
import replicate
from replicate.stream import ServerSentEvent

RECITAL = {"prompt": "Alice was", "max_new_tokens": 32, "temperature": 0}
EventType = ServerSentEvent.EventType


def test_stream_yields_the_text_in_chunks_and_says_when_it_is_done() -> None:
    events = list(replicate.stream("demo/recital", input=RECITAL))
    assert events[-1].event == EventType.DONE
    chunks = [event.data for event in events if event.event == EventType.OUTPUT]
    assert len(chunks) > 1
    assert "".join(chunks) == "".join(replicate.run("demo/recital", input=RECITAL))
    assert len({event.id for event in events}) == len(events)


def test_the_events_join_to_the_text_itself() -> None:
    said = "".join(str(event) for event in replicate.stream("demo/recital", input=RECITAL))
    assert "beginning to" in said


def test_async_stream_yields_the_same() -> None:
    async def said() -> str:
        stream = await replicate.async_stream("demo/echo", input={"text": "one two three", "steps": 3})
        return "".join([str(event) async for event in stream])

    assert asyncio.run(said()) == "one two three"


def test_lines_of_a_text_survive_the_stream() -> None:
    text = "first\nsecond\n\nfourth\n"
    assert "".join(str(event) for event in replicate.stream("demo/echo", input={"text": text})) == text


def test_whoever_comes_after_the_end_hears_all_of_it() -> None:
    prediction = replicate.models.predictions.create("demo/echo", {"text": "all of it", "steps": 3})
    prediction.wait()
    events = list(prediction.stream())
    assert "".join(str(event) for event in events) == "all of it"
    assert events[-1].event == EventType.DONE


def test_what_a_model_prints_is_in_the_stream() -> None:
    events = replicate.stream("demo/echo", input={"text": "", "log": "a line of the log"})
    logs = "".join(event.data for event in events if event.event == EventType.LOGS)
    assert "a line of the log" in logs


def test_a_stream_ends_when_its_prediction_is_canceled() -> None:
    prediction = replicate.models.predictions.create("demo/echo", {"text": "", "sleep": 60, "steps": 600})
    stream = prediction.stream()
    prediction.cancel()
    assert [event.event for event in stream][-1] == EventType.DONE


def test_a_failure_is_an_error_event() -> None:
    with pytest.raises(RuntimeError, match="too dark to see"):
        list(replicate.stream("demo/echo", input={"text": "", "fail": "too dark to see"}))


def test_comments_come_while_nothing_is_said_and_are_no_events() -> None:
    """The client gives up a stream in which nothing comes for 30 seconds."""
    prediction = replicate.models.predictions.create("demo/echo", {"text": "at last", "sleep": 2.5})
    with ThreadPoolExecutor(1) as threads:
        bare = threads.submit(httpx.get, prediction.urls["stream"], timeout=30)
        events = list(prediction.stream())
    assert [event.event for event in events] == [EventType.OUTPUT, EventType.DONE]
    silence, said, _ = bare.result().text.partition("at last")
    assert said
    assert silence.count(": keep-alive") >= 2


def test_the_url_of_a_stream_needs_no_token_and_bears_one() -> None:
    prediction = replicate.models.predictions.create("demo/echo", {"text": "open"})
    prediction.wait()
    url = prediction.urls["stream"]
    for headers in ({}, {"Authorization": "Bearer whatever"}):
        response = httpx.get(url, headers=headers)
        assert response.headers["content-type"].partition(";")[0] == "text/event-stream"
        assert "open" in response.text
