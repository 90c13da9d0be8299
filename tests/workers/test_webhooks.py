"""Receivers hear of finished predictions: once if all goes well, until they have heard it if not."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from http.server import BaseHTTPRequestHandler
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, text
from standardwebhooks.webhooks import Webhook

from db import outbox
from tests.stack import Stack, wait_until
from tests.workers.receivers import Receiver, Respond, answer, hang_up, in_turn, receiver
from tests.workers.sender import BASE_URL, BLOB_URLS, LOOPBACK, STREAM_URLS, Sender, delivering
from workers.outbound import OutboundClient
from workers.webhooks import RETRY_SECONDS, THREADS_PER_RECEIVER, Deliverer, retry_after_seconds


@pytest.fixture
def engine(sender: Sender) -> Engine:
    return sender.engine


@pytest.fixture
def finish(sender: Sender) -> Callable[..., list[str]]:
    """Submits predictions with these webhooks, claims and finishes them; returns their ids."""
    return sender.finished


def noted(engine: Engine, prediction_id: str) -> Any:
    """The outbox row of a prediction."""
    query = text(
        "SELECT *, next_attempt_at - now() AS wait FROM webhook_deliveries WHERE prediction_id = :id"
    )
    with engine.connect() as connection:
        return connection.execute(query, {"id": prediction_id}).one()


def settled(engine: Engine, prediction_id: str) -> Callable[[], bool]:
    """Whether its webhook has been told or given up."""
    return lambda: noted(engine, prediction_id).next_attempt_at is None


@pytest.mark.slow
def test_a_finished_prediction_is_told_once_and_as_the_api_shows_it(
    engine: Engine, finish: Callable[..., list[str]]
) -> None:
    with receiver(answer(200)) as here, delivering(engine) as deliverer:
        [prediction_id] = finish(f"{here.url}/hook?key=1")
        wait_until(settled(engine, prediction_id))
        assert deliverer.run_due() == 0
    [request] = here.requests
    assert request.path == "/hook?key=1"
    assert request.headers["Content-Type"] == "application/json"
    document = json.loads(request.body)
    moments = {name: document[name] for name in ("created_at", "started_at", "completed_at")}
    assert all(datetime.fromisoformat(moment).tzinfo == UTC for moment in moments.values())
    assert document["metrics"].keys() == {"predict_time", "total_time"}
    assert (document["id"], document["status"], document["model"]) == (
        prediction_id,
        "succeeded",
        "Demo/echo",
    )
    assert (document["input"], document["output"]) == ({"text": "häuser"}, "häuser")
    assert document["urls"]["get"] == f"{BASE_URL}/v1/predictions/{prediction_id}"
    row = noted(engine, prediction_id)
    assert (row.attempts, row.last_status, row.last_error) == (1, 200, None)
    assert row.delivered_at is not None


@pytest.mark.slow
@pytest.mark.parametrize("mishap", [answer(500), answer(429), answer(404), hang_up])
def test_a_receiver_that_fails_is_asked_again(
    engine: Engine, finish: Callable[..., list[str]], mishap: Respond
) -> None:
    with (
        receiver(in_turn(mishap, mishap, answer(204))) as here,
        delivering(engine, retry_seconds=(0.01,) * 2),
    ):
        [prediction_id] = finish(here.url)
        wait_until(settled(engine, prediction_id))
    assert len(here.requests) == 3
    assert noted(engine, prediction_id).last_status == 204


def _has_heard(receiver: Receiver, times: int) -> bool:
    return len(receiver.requests) == times


@pytest.mark.slow
def test_the_waits_grow_as_the_schedule_says(sender: Sender) -> None:
    engine, finish = sender.engine, sender.finished
    with receiver(answer(503)) as here, delivering(engine):
        [prediction_id] = finish(here.url)
        for number, seconds in enumerate(RETRY_SECONDS, 1):
            wait_until(partial(_has_heard, here, number))
            wait_until(lambda: noted(engine, prediction_id).last_error is not None)
            row = noted(engine, prediction_id)
            assert row.last_error == "The receiver answered 503."
            assert 0.7 * seconds < row.wait.total_seconds() < 1.3 * seconds
            sender.let_time_pass()
        wait_until(settled(engine, prediction_id))
    assert len(here.requests) == len(RETRY_SECONDS) + 1
    assert noted(engine, prediction_id).delivered_at is None


def test_a_receiver_may_ask_for_a_longer_wait(engine: Engine, finish: Callable[..., list[str]]) -> None:
    with receiver(answer(429, Retry_After="1000")) as here, delivering(engine):
        [prediction_id] = finish(here.url)
        wait_until(lambda: noted(engine, prediction_id).last_status == 429)
    assert 900 < noted(engine, prediction_id).wait.total_seconds() < 1100


def test_retry_after_is_bounded_and_may_be_a_date() -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    assert 90 < retry_after_seconds(soon) <= 100
    assert retry_after_seconds("30") == 30
    assert retry_after_seconds("999999") == 3600
    assert [retry_after_seconds(odd) for odd in ("", "-5", "soon", "Mon, 01 Jan 2001 00:00:00 GMT")] == [
        0
    ] * 4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("url", "because"),
    [
        ("http://127.0.0.1:{port}/", "The URL must not lead to 127.0.0.1, which is not a public address."),
        ("http://localhost:{port}/", "The URL must not lead to this machine."),
    ],
)
def test_a_private_address_is_given_up_at_once(
    engine: Engine, finish: Callable[..., list[str]], url: str, because: str
) -> None:
    with receiver(answer(200)) as here, delivering(engine, OutboundClient()):
        [prediction_id] = finish(url.format(port=here.port))
        wait_until(settled(engine, prediction_id))
    assert here.requests == []
    row = noted(engine, prediction_id)
    assert (row.attempts, row.delivered_at, row.last_error) == (1, None, because)


@pytest.mark.slow
def test_a_receiver_that_is_gone_is_not_asked_again(engine: Engine, finish: Callable[..., list[str]]) -> None:
    with receiver(answer(410)) as here, delivering(engine, retry_seconds=(0.0,) * 3):
        [prediction_id] = finish(here.url)
        wait_until(settled(engine, prediction_id))
    assert len(here.requests) == 1
    assert noted(engine, prediction_id).last_error == "The receiver answered 410 (gone)."


@pytest.mark.slow
def test_a_redirect_to_the_metadata_service_is_a_failure(
    engine: Engine, finish: Callable[..., list[str]]
) -> None:
    elsewhere = answer(307, Location="http://169.254.169.254/latest/meta-data/")
    with receiver(elsewhere) as here, delivering(engine, retry_seconds=()):
        [prediction_id] = finish(here.url)
        wait_until(settled(engine, prediction_id))
    assert len(here.requests) == 1
    expected = "The receiver answered 307; redirects are not followed."
    assert noted(engine, prediction_id).last_error == expected


@pytest.mark.slow
def test_slow_receivers_do_not_delay_another(engine: Engine, finish: Callable[..., list[str]]) -> None:
    released = threading.Event()

    def stall(handler: BaseHTTPRequestHandler, number: int) -> None:
        released.wait(30)
        answer(200)(handler, number)

    with ExitStack() as receivers, delivering(engine):
        slow = [receivers.enter_context(receiver(stall)) for _ in range(6)]
        quick = receivers.enter_context(receiver(answer(200)))
        try:
            of_the_slow = finish(*[one.url for one in slow] * 6)
            finish(*[quick.url] * 40)
            wait_until(lambda: len(quick.requests) == 40)
            assert {len(one.requests) for one in slow} == {THREADS_PER_RECEIVER}
        finally:
            released.set()
        wait_until(lambda: all(settled(engine, one)() for one in of_the_slow))
    assert {len(one.requests) for one in slow} == {6}


@pytest.mark.slow
def test_an_attempt_that_died_with_its_steward_is_made_again(sender: Sender) -> None:
    engine, finish = sender.engine, sender.finished
    with receiver(answer(200)) as here:
        [prediction_id] = finish(here.url)
        [lost] = sender.take()
        assert sender.take() == []
        sender.let_time_pass()
        with delivering(engine):
            wait_until(settled(engine, prediction_id))
    assert len(here.requests) == 1
    assert not outbox.failed(engine, lost, outbox.Attempt("late"), retry_seconds=0)
    assert not outbox.delivered(engine, lost, outbox.Attempt(status=200))
    assert noted(engine, prediction_id).attempts == 2


def test_no_receiver_is_given_more_than_its_share(engine: Engine, finish: Callable[..., list[str]]) -> None:
    finish(*["http://a.example/1"] * 6, *["http://b.example/1"] * 6, "http://c.example/1")
    busy = {"a.example": 3, "b.example": 4}
    taken = outbox.due(engine, limit=10, per_receiver=4, busy=busy, lease_seconds=60)
    assert sorted(one.receiver for one in taken) == ["a.example", "c.example"]


@pytest.mark.slow
def test_a_prediction_that_retention_dropped_is_given_up(
    engine: Engine, finish: Callable[..., list[str]]
) -> None:
    with receiver(answer(200)) as here:
        [prediction_id] = finish(here.url)
        with engine.connect() as connection:
            connection.execute(text("DELETE FROM predictions"))
        with delivering(engine):
            wait_until(settled(engine, prediction_id))
    assert here.requests == []
    assert noted(engine, prediction_id).last_error == "The prediction has been deleted."


@pytest.mark.slow
def test_closing_waits_for_what_is_under_way(engine: Engine, finish: Callable[..., list[str]]) -> None:
    def think(handler: BaseHTTPRequestHandler, number: int) -> None:
        time.sleep(0.3)
        answer(200)(handler, number)

    deliverer = Deliverer(
        engine,
        OutboundClient(LOOPBACK),
        base_url=BASE_URL,
        blob_urls=BLOB_URLS,
        stream_urls=STREAM_URLS,
    )
    with receiver(think) as here:
        [prediction_id] = finish(here.url)
        assert deliverer.run_due() == 1
        deliverer.close()
        assert noted(engine, prediction_id).delivered_at is not None
        assert deliverer.run_due() == 0


@pytest.mark.slow
def test_a_client_hears_by_webhook_what_the_api_would_have_told(stack: Stack) -> None:
    stack.start()
    model = stack.add_echo()
    with receiver(answer(200)) as here, httpx.Client(base_url=stack.url, trust_env=False) as client:
        client.headers["Authorization"] = f"Bearer {stack.token()}"
        accepted = client.post(
            "/v1/predictions",
            json={"model": model, "input": {"text": "hello"}, "webhook": f"{here.url}/hook"},
        ).raise_for_status()
        wait_until(lambda: len(here.requests) == 2, what="the webhooks")
        shown = client.get(f"/v1/predictions/{accepted.json()['id']}").json()
        key = client.get("/v1/webhooks/default/secret").json()["key"]
        log = client.get("/v1/webhooks/deliveries").json()["results"]
        refused = client.post(
            "/v1/predictions",
            json={"model": model, "input": {"text": "x"}, "webhook": "http://169.254.169.254/"},
        )
    start, end = [Webhook(key).verify(request.body, request.headers) for request in here.requests]
    assert (start["status"], start["output"]) == ("processing", None)
    assert (end["status"], end["output"]) == ("succeeded", "hello")
    assert without_urls(end) == without_urls(shown)
    ids = [request.headers["webhook-id"] for request in here.requests]
    assert [(one["event"], one["id"]) for one in reversed(log)] == [("start", ids[0]), ("completed", ids[1])]
    assert refused.status_code == 422
    assert "webhook" in refused.text


def without_urls(document: dict[str, Any]) -> dict[str, Any]:
    """The steward knows its base URL from PUBLIC_URL, the gateway from the request too."""
    return {name: value for name, value in document.items() if name != "urls"}
