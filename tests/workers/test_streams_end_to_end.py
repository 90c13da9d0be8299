"""A prediction is followed while a real worker runs it: by its stream, at once or later, and by polling."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.stack import Stack, wait_until

pytestmark = pytest.mark.slow

TEXT = "abcdefghij"


def events(url: str) -> Iterator[tuple[str, str]]:
    """Name and data of each event of a stream, as they come."""
    name = ""
    with httpx.stream("GET", url, timeout=30) as response:
        assert response.status_code == 200
        for line in response.iter_lines():
            field, _, value = line.partition(": ")
            if field == "event":
                name = value
            elif field == "data":
                yield name, value


class Follower(threading.Thread):
    """Reads a stream to its end, and notes when its first chunk of output came (monotonic seconds)."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url
        self.told: list[tuple[str, str]] = []
        self.began_at = 0.0
        self.start()

    def run(self) -> None:
        for event in events(self._url):
            if event[0] == "output" and not self.began_at:
                self.began_at = time.monotonic()
            self.told.append(event)

    def output(self) -> list[str]:
        return [data for name, data in self.told if name == "output"]


def test_one_prediction_is_followed_by_its_stream_and_by_polling(stack: Stack) -> None:
    stack.start()
    model = stack.add_echo()
    with httpx.Client(
        base_url=stack.url, headers={"Authorization": f"Bearer {stack.token()}"}, timeout=60
    ) as http:

        def ask(**fields: Any) -> dict[str, Any]:
            body = {"input": {"text": TEXT, "steps": 10, "sleep": 2, "log": "step"}, **fields}
            made: dict[str, Any] = http.post("/v1/predictions", json=body).json()
            return made

        def look(made: dict[str, Any]) -> dict[str, Any]:
            found: dict[str, Any] = http.get(f"/v1/predictions/{made['id']}").json()
            return found

        streams, plain = ask(model=model, stream=True), ask(model=model)
        early = Follower(streams["urls"]["stream"])
        wait_until(lambda: bool(look(streams)["output"]), 10, "some output by polling")
        seen = look(streams)
        assert seen["status"] == "processing"
        assert TEXT.startswith("".join(seen["output"]))
        late = Follower(plain["urls"]["stream"])
        for follower in (early, late):
            follower.join()
        ended_at = time.monotonic()
        ended = [look(one) for one in (streams, plain)]

    assert [one["status"] for one in ended] == ["succeeded", "succeeded"]
    assert [one["output"] for one in ended] == [list(TEXT), TEXT]
    assert early.output() == list(TEXT)
    assert ended_at - early.began_at > 1
    assert "".join(late.output()) == TEXT
    assert len(late.output()) > 2
    assert early.told[-1] == late.told[-1] == ("done", "{}")
    # Both have shared their steps: whatever is printed meanwhile belongs to each.
    for follower, one in zip((early, late), ended, strict=True):
        assert one["logs"].count("step\n") >= 10
        assert "100%|##########| 100/100\n" in one["logs"]
        assert ("logs", "step") in follower.told
