"""A lane dies in the midst of a stream: its reader hears the rest from the next one, and no word twice."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest

from tests.faults.scene import Scene

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]

TEXT = "'Begin at the beginning,' the King said, gravely."


def output_of(lines: Iterator[str]) -> Iterator[str]:
    """The data of a stream's output; it has to end well."""
    name = ""
    for line in lines:
        field, _, value = line.partition(": ")
        if field == "event":
            assert value != "error"
            name = value
        elif field == "data" and name == "output":
            yield value
    assert name == "done"


def test_a_stream_survives_the_lane_that_writes_it(scene: Scene) -> None:
    scene.start()
    made = scene.post(text=TEXT, sleep=1.0, steps=10)
    assert made is not None
    stream_path = urlsplit(made.json()["urls"]["stream"]).path
    with httpx.stream("GET", f"{scene.stack.url}{stream_path}", timeout=30) as response:
        chunks = output_of(response.iter_lines())
        heard = [next(chunks), next(chunks)]
        os.kill(scene.lane_of(made.json()["id"]), signal.SIGKILL)
        heard += chunks
    assert "".join(heard) == TEXT
    (record,) = scene.audit().values()
    assert (record.status, record.attempts) == ("succeeded", 2)
