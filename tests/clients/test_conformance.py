"""The official clients, the examples and four ways to one prediction, all against one running server.

In one file, so that one process runs it: each process that did would start a server of its own.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from db.ids import new_id
from examples.demo_models import RECITAL
from tests.clients import environments
from tests.clients.conftest import Server, node
from tests.stack import wait_until
from tests.workers.receivers import answer, receiver

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
EXAMPLES = Path(__file__).parents[2] / "examples"
TOLD_BY_EXAMPLES = ("tired of sitting by her sister", "|t|i|r|e|d|", "canceled", "too dark to see")


def _suites(folder: str, ending: str) -> list[str]:
    return sorted(path.name for path in (environments.SUITES / folder).glob(f"test_*{ending}"))


def _base_url(server: Server, suite: str) -> str:
    return server.https_url if suite.startswith("test_https") else server.url


def _pytest(folder: str, suite: str) -> list[str | Path]:
    """The client's own pytest, which knows nothing of the settings and fixtures of ours."""
    home = environments.SUITES / folder
    alone: list[str | Path] = ["-c", os.devnull, "--rootdir", home, "--confcutdir", home]
    quiet = ["-q", "--tb=short", "-p", "no:cacheprovider"]
    return [environments.python(folder), "-m", "pytest", *alone, *quiet, home / suite]


@pytest.mark.parametrize("suite", _suites("python1", ".py"))
def test_replicate_1_for_python(server: Server, suite: str) -> None:
    server.run(_pytest("python1", suite), _base_url(server, suite))


@pytest.mark.parametrize("suite", _suites("python2", ".py"))
def test_replicate_2_for_python(server: Server, suite: str) -> None:
    server.run(_pytest("python2", suite), f"{_base_url(server, suite)}/v1")


@pytest.mark.parametrize("suite", _suites("node", ".mjs"))
def test_replicate_for_node(server: Server, node_directory: Path, suite: str) -> None:
    server.run(node(suite), f"{_base_url(server, suite)}/v1", node_directory)


@pytest.fixture
def more_models(server: Server, tmp_path: Path) -> None:
    """Models that the demo has not: one that chats, and two untaught ones, which hear and draw."""
    # Here, since they take seconds to load.
    from tests.model_types import tiny_diffusion, whisper

    shutil.copytree(RECITAL, tmp_path / "talker")
    template = "{% for turn in messages %}{{ turn.content }}{% endfor %}"
    (tmp_path / "talker" / "chat_template.jinja").write_text(template)
    whisper.build(tmp_path / "whisper")
    tiny_diffusion.build(tmp_path / "painter")
    types = {"talker": "text-generation", "whisper": "speech-to-text", "painter": "text-to-image"}
    with server.http() as http:
        for name, model_type in types.items():
            model = {"owner": "test", "name": name, "model_type": model_type}
            http.post("/v1/models", json=model | {"model_path": str(tmp_path / name)}).raise_for_status()


@pytest.mark.usefixtures("more_models")
def test_openai_for_node(server: Server, node_directory: Path) -> None:
    server.run(node("openai_test.mjs"), server.url, node_directory)


def test_the_example_for_python(server: Server) -> None:
    python = environments.python("python1")
    printed = server.run([python, EXAMPLES / "replicate_python.py"], server.url)
    for told in (*TOLD_BY_EXAMPLES, "7.png shows a 7"):
        assert told in printed


def test_the_example_for_node(server: Server, node_directory: Path) -> None:
    shutil.copy(EXAMPLES / "replicate_node.mjs", node_directory)
    printed = server.run(node("replicate_node.mjs"), f"{server.url}/v1", node_directory)
    for told in TOLD_BY_EXAMPLES:
        assert told in printed


def test_the_example_for_curl(server: Server) -> None:
    printed = server.run([EXAMPLES / "curl.sh"], server.url)
    for told in ('"output":["hello"]', "event: done", '"label":"7"', '"status":"canceled"'):
        assert told in printed


def test_the_example_of_a_receiver_believes_what_is_signed_and_nothing_else(server: Server) -> None:
    with server.start([environments.python("python1"), "-u", EXAMPLES / "webhook_receiver.py", "0"]) as lines:
        url = next(lines).removeprefix("receiving at ").strip()
        assert httpx.post(url, content=b"{}").status_code == httpx.codes.BAD_REQUEST
        assert next(lines).startswith("refused: ")
        body = {"version": "demo/echo", "input": {"text": "signed"}, "webhook": url}
        with server.http() as http:
            created = http.post("/v1/predictions", json=body | {"webhook_events_filter": ["completed"]})
        assert next(lines).split() == [created.json()["id"], "succeeded", '["signed"]']


def test_wait_poll_stream_and_webhook_end_with_the_same_bytes(server: Server) -> None:
    """The same prediction by all four at once, while it runs."""
    id = new_id()
    text = "Down, down, down.\nWürde der Fall nie enden? 🐇"
    body = {"version": "demo/echo", "input": {"text": text, "sleep": 1.0, "steps": 10}}
    with receiver(answer(204)) as hook, ThreadPoolExecutor() as readers:
        body |= {"webhook": hook.url, "webhook_events_filter": ["completed"]}
        waiting = readers.submit(_wait, server, id, body)
        polling = readers.submit(_poll, server, id)
        streaming = readers.submit(_stream, server, id)
        waited, (polled, statuses), streamed = waiting.result(), polling.result(), streaming.result()
        wait_until(lambda: bool(hook.requests), what="the webhook")

    assert "processing" in statuses
    assert json.loads(waited)["status"] == "succeeded"
    assert waited == polled == hook.requests[0].body
    assert "".join(json.loads(waited)["output"]) == streamed == text


def _wait(server: Server, id: str, body: dict[str, Any]) -> bytes:
    with server.http() as http:
        return http.put(f"/v1/predictions/{id}", json=body, headers={"Prefer": "wait=30"}).content


def _poll(server: Server, id: str) -> tuple[bytes, set[str]]:
    """The prediction as it is in the end, and each status on the way."""
    statuses: set[str] = set()
    with server.http() as http:
        while not statuses & {"succeeded", "failed", "canceled"}:
            response = http.get(f"/v1/predictions/{id}")
            if response.is_success:
                statuses.add(response.json()["status"])
    return response.content, statuses


def _stream(server: Server, id: str) -> str:
    """The text that the events of output come to."""
    with server.http() as http:
        wait_until(lambda: http.get(f"/v1/predictions/{id}").is_success)
        url = http.get(f"/v1/predictions/{id}").json()["urls"]["stream"]
    with httpx.stream("GET", url) as response:
        return "".join(_output(response.iter_lines()))


def _output(lines: Iterator[str]) -> Iterator[str]:
    """The data of each event called output."""
    event, data = "", list[str]()
    for line in lines:
        name, _, value = line.partition(": ")
        if name == "event":
            event = value
        elif name == "data":
            data.append(value)
        elif not line:
            if event == "output":
                yield "\n".join(data)
            event, data = "", []
