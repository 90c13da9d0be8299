"""Webhooks, judged by the validators of replicate 1.0 and of standardwebhooks."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
import replicate
from replicate.webhook import InvalidSignatureError, Webhooks
from standardwebhooks import Webhook

Received = tuple[dict[str, str], bytes]


@pytest.fixture
def receiver() -> Iterator[tuple[str, queue.Queue[Received]]]:
    """The URL of a receiver, and what it has received."""
    received: queue.Queue[Received] = queue.Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.put((dict(self.headers), self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Keep quiet."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/hook", received
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_secret_is_of_a_form_that_the_client_takes() -> None:
    """It splits on underscores, and wants two parts."""
    key = replicate.webhooks.default.secret().key
    assert key.startswith("whsec_")
    assert len(key.split("_")) == 2
    assert replicate.webhooks.default.secret().key == key


def test_a_webhook_is_signed_so_that_both_validators_accept_it(
    receiver: tuple[str, queue.Queue[Received]],
) -> None:
    url, received = receiver
    prediction = replicate.models.predictions.create(
        "demo/echo", {"text": "signed"}, webhook=url, webhook_events_filter=["completed"]
    )
    headers, body = received.get(timeout=30)
    secret = replicate.webhooks.default.secret()
    Webhooks.validate(headers=headers, body=body.decode(), secret=secret, tolerance=60)
    assert Webhook(secret.key).verify(body.decode(), headers) == json.loads(body)
    with pytest.raises(InvalidSignatureError):
        Webhooks.validate(headers=headers, body=body.decode() + " ", secret=secret)

    told = json.loads(body)
    prediction.reload()
    assert (told["id"], told["status"]) == (prediction.id, "succeeded")
    assert told["output"] == prediction.output
    assert told["metrics"] == prediction.metrics


def test_after_a_rotation_whoever_has_either_secret_is_content(
    receiver: tuple[str, queue.Queue[Received]],
) -> None:
    url, received = receiver
    before = replicate.webhooks.default.secret()
    replicate.default_client._request("POST", "/v1/webhooks/default/secret/rotate")
    after = replicate.webhooks.default.secret()
    assert after.key != before.key
    replicate.models.predictions.create("demo/echo", {"text": "signed twice"}, webhook=url)
    headers, body = received.get(timeout=30)
    for secret in (before, after):
        Webhooks.validate(headers=headers, body=body.decode(), secret=secret)
        assert Webhook(secret.key).verify(body.decode(), headers)


def test_completed_comes_last_and_only_the_wanted_events_come(
    receiver: tuple[str, queue.Queue[Received]],
) -> None:
    url, received = receiver
    replicate.models.predictions.create(
        "demo/echo",
        {"text": "one two three", "sleep": 1.2, "steps": 3},
        webhook=url,
        webhook_events_filter=["start", "output", "completed"],
    )
    told = [json.loads(received.get(timeout=30)[1])]
    while told[-1]["status"] != "succeeded":
        told.append(json.loads(received.get(timeout=30)[1]))
    assert len(told) >= 3
    said = ["".join(prediction["output"] or []) for prediction in told]
    assert said == sorted(said, key=len)
    assert said[-1] == "one two three"


def test_the_old_way_to_ask_for_the_end_alone(receiver: tuple[str, queue.Queue[Received]]) -> None:
    url, received = receiver
    replicate.models.predictions.create("demo/echo", {"text": "the end"}, webhook_completed=url)
    assert json.loads(received.get(timeout=30)[1])["status"] == "succeeded"
    assert received.empty()
