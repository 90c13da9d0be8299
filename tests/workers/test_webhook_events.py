"""What receivers hear on the way to the end, in which order, and how they know who says it."""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict
from datetime import timedelta
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from db import outbox
from db.outbox import Attempt, Delivery
from tests.stack import wait_until
from tests.workers.receivers import Received, Receiver, answer, in_turn, receiver
from tests.workers.sender import Sender, delivering

HOOK = "http://receiver.example/hook"


def bodies(here: Receiver) -> list[Any]:
    return [json.loads(request.body) for request in here.requests]


def told(sender: Sender) -> bool:
    """Whether nothing is left to be told."""
    return not sender.rows("SELECT FROM webhook_deliveries WHERE next_attempt_at IS NOT NULL")


def events(deliveries: list[Delivery]) -> list[str]:
    return [delivery.event for delivery in deliveries]


@pytest.mark.slow
def test_a_receiver_hears_of_the_start_of_the_output_and_of_the_end(sender: Sender) -> None:
    with receiver(answer(200)) as here, delivering(sender.engine):
        sender.submit(here.url)
        leases = sender.start()
        wait_until(lambda: told(sender))
        sender.write(leases, '"hä"')
        wait_until(lambda: told(sender))
        sender.finish(leases)
        wait_until(lambda: told(sender))
    start, output, end = bodies(here)
    assert [body["status"] for body in (start, output, end)] == ["processing", "processing", "succeeded"]
    assert [body["output"] for body in (start, output, end)] == [None, "hä", "häuser"]
    assert start["started_at"] == end["started_at"]
    assert start["completed_at"] is None


@pytest.mark.parametrize(
    ("wanted", "heard"),
    [(["start"], ["start"]), (["completed"], ["completed"]), (["output", "logs"], ["output"]), ([], [])],
)
def test_a_receiver_hears_only_of_the_events_that_were_asked_for(
    sender: Sender, wanted: list[str], heard: list[str]
) -> None:
    sender.submit(HOOK, events=wanted)
    leases = sender.start()
    sender.write(leases, '"hä"')
    sender.finish(leases)
    assert [row.event for row in sender.rows("SELECT event FROM webhook_deliveries")] == heard


@pytest.mark.slow
def test_a_start_is_told_as_a_start_even_when_the_end_has_come_before_it_could_be(sender: Sender) -> None:
    with receiver(answer(200)) as here:
        sender.submit(here.url)
        sender.finish(sender.start())
        with delivering(sender.engine):
            wait_until(lambda: told(sender))
    start, end = bodies(here)
    assert (start["status"], start["output"], start["completed_at"]) == ("processing", None, None)
    assert (end["status"], end["output"]) == ("succeeded", "häuser")


def test_a_predictions_events_are_told_one_after_the_other(sender: Sender) -> None:
    sender.submit(HOOK)
    leases = sender.start()
    sender.write(leases, '"hä"', events=("output", "logs"))
    order = []
    while deliveries := sender.take():
        assert sender.take() == []
        order += events(deliveries)
        outbox.delivered(sender.engine, deliveries[0], Attempt(status=200))
    assert order in (["start", "output", "logs"], ["start", "logs", "output"])


def test_the_end_waits_for_whatever_is_under_way(sender: Sender) -> None:
    sender.submit(HOOK)
    leases = sender.start()
    [start] = sender.take()
    sender.finish(leases)
    assert sender.take() == []
    outbox.failed(sender.engine, start, Attempt("No answer."), retry_seconds=None)
    assert events(sender.take()) == ["completed"]


@pytest.mark.slow
def test_news_that_the_end_has_made_old_is_never_told(sender: Sender) -> None:
    with receiver(answer(200)) as here:
        sender.submit(here.url, events=["output", "completed"])
        leases = sender.start()
        sender.write(leases, '"hä"')
        sender.finish(leases)
        with delivering(sender.engine):
            wait_until(lambda: told(sender))
    assert [body["status"] for body in bodies(here)] == ["succeeded"]
    assert sender.rows("SELECT event FROM webhook_deliveries") == [("completed",)]


def test_the_end_does_not_wait_for_news_that_has_to_wait(sender: Sender) -> None:
    sender.submit(HOOK, events=["output", "completed"])
    leases = sender.start()
    sender.write(leases, '"h"')
    [first] = sender.take()
    outbox.delivered(sender.engine, first, Attempt(status=200))
    sender.write(leases, '"hä"')
    assert sender.take() == []
    sender.finish(leases)
    assert events(sender.take()) == ["completed"]


def test_news_of_one_kind_waits_for_half_a_second_and_stands_for_all_that_follows(sender: Sender) -> None:
    sender.submit(HOOK, events=["output"])
    leases = sender.start()
    for text in ('"h"', '"hä"', '"häu"'):
        sender.write(leases, text)
    [first] = sender.take()
    assert first.prediction is not None
    assert first.prediction.output == "häu"
    sender.write(leases, '"häus"')
    outbox.delivered(sender.engine, first, Attempt(status=200))
    assert told(sender)
    for text in ('"häuse"', '"häuser"'):
        sender.write(leases, text)
    waits = sender.rows(
        "SELECT next_attempt_at - lag(attempted_at) OVER (ORDER BY id) AS wait FROM webhook_deliveries"
    )
    assert [row.wait for row in waits] == [None, timedelta(seconds=0.5)]


def test_nothing_is_told_of_a_prediction_that_is_not_this_attempts_any_more(sender: Sender) -> None:
    sender.submit(HOOK, HOOK)
    over, lost = leases = sender.start()
    sender.start()
    outbox.note_started(sender.engine, [lease.id for lease in leases])
    assert events(sender.take()) == ["start", "start"]
    sender.finish([over])
    sender.execute("UPDATE queue SET attempt = attempt + 1")
    sender.write(leases, '"hä"')
    outbox.note_started(sender.engine, [over.id])
    assert [row.event for row in sender.rows("SELECT event FROM webhook_deliveries ORDER BY id")] == [
        "start",
        "start",
        "completed",
    ]
    assert lost.attempt == 1


@pytest.mark.slow
def test_what_happens_on_the_way_is_told_once_whether_it_is_heard_or_not(sender: Sender) -> None:
    with receiver(in_turn(answer(500), answer(503), answer(200))) as here, delivering(sender.engine):
        sender.submit(here.url)
        leases = sender.start()
        sender.write(leases, '"hä"')
        wait_until(lambda: told(sender))
        sender.finish(leases)
        wait_until(lambda: told(sender))
    assert [body["status"] for body in bodies(here)] == ["processing", "processing", "succeeded"]
    log = sender.rows(
        "SELECT event, attempt, status, error FROM webhook_attempts a"
        " JOIN webhook_deliveries d ON d.id = a.delivery_id ORDER BY d.id"
    )
    assert log == [
        ("start", 1, 500, "The receiver answered 500."),
        ("output", 1, 503, "The receiver answered 503."),
        ("completed", 1, 200, None),
    ]


@pytest.mark.slow
def test_a_receiver_that_is_gone_hears_no_more_of_this_prediction_unless_asked_to(sender: Sender) -> None:
    with receiver(in_turn(answer(410), answer(200))) as here, delivering(sender.engine):
        [prediction_id] = sender.submit(here.url)
        leases = sender.start()
        wait_until(lambda: told(sender))
        sender.finish(leases)
        wait_until(lambda: told(sender))
        [end] = sender.rows("SELECT last_error, attempts FROM webhook_deliveries WHERE event = 'completed'")
        assert end == ("The receiver has answered 410 (gone) to an earlier event.", 1)
        assert len(here.requests) == 1
        sender.execute("UPDATE webhook_deliveries SET next_attempt_at = now() WHERE event = 'completed'")
        wait_until(lambda: told(sender))
        sender.finished(here.url)
        wait_until(lambda: told(sender))
    assert [body["id"] == prediction_id for body in bodies(here)] == [True, True, False]


@pytest.mark.slow
def test_of_many_predictions_each_is_told_in_order_and_one_at_a_time(sender: Sender) -> None:
    """Four threads deliver at the same time."""
    heard: dict[str, list[str]] = defaultdict(list)
    under_way, at_once = set[str](), set[str]()
    lock = threading.Lock()

    def listen(handler: BaseHTTPRequestHandler, number: int) -> None:
        body = json.loads(here.requests[number - 1].body)
        with lock:
            at_once.update({body["id"]} & under_way)
            under_way.add(body["id"])
        time.sleep(0.002)
        with lock:
            under_way.discard(body["id"])
            heard[body["id"]].append(body["output"] or body["status"])
        answer(200)(handler, number)

    with receiver(listen) as here, delivering(sender.engine):
        ids = sender.submit(*[here.url] * 20)
        leases = sender.start()
        sender.write(leases, '"hä"', events=("output", "logs"))
        wait_until(lambda: len(here.requests) > 30)
        sender.finish(leases)
        wait_until(lambda: told(sender))
    assert not at_once
    assert heard.keys() == set(ids)
    for story in heard.values():
        assert (story[0], story[-1], story.count("häuser")) == ("processing", "häuser", 1)
        assert set(story[1:-1]) <= {"hä"}


def verified(request: Received, secret: str) -> Any:
    """The document, once Standard Webhooks' own library says that the owner of the secret has sent it."""
    return Webhook(secret).verify(request.body, request.headers)


def secrets_of(sender: Sender) -> list[str]:
    return [row.secret for row in sender.rows("SELECT secret FROM webhook_secrets ORDER BY created_at DESC")]


@pytest.mark.slow
def test_every_attempt_is_signed_anew_under_the_same_id(sender: Sender) -> None:
    with receiver(in_turn(answer(500), answer(200))) as here, delivering(sender.engine, retry_seconds=(0.0,)):
        sender.finished(here.url)
        wait_until(lambda: told(sender))
    [secret] = secrets_of(sender)
    assert [verified(request, secret)["output"] for request in here.requests] == ["häuser"] * 2
    [delivery] = sender.rows("SELECT id FROM webhook_deliveries")
    assert {request.headers["webhook-id"] for request in here.requests} == {delivery.id}
    assert all(abs(int(request.headers["webhook-timestamp"]) - time.time()) < 60 for request in here.requests)


@pytest.mark.slow
def test_after_a_rotation_the_old_key_verifies_too(sender: Sender) -> None:
    old, new = "whsec_b2xkIG9sZCBvbGQgb2xkIG9sZCBvbGQ=", "whsec_bmV3IG5ldyBuZXcgbmV3IG5ldyBuZXc="
    for secret, retires_at in ((old, "now() + interval '1 day'"), (new, "NULL")):
        sender.execute(
            "INSERT INTO webhook_secrets (user_id, secret, retires_at)"
            f" VALUES ('owner', :secret, {retires_at})",
            secret=secret,
        )
    with receiver(answer(200)) as here, delivering(sender.engine):
        sender.finished(here.url)
        wait_until(lambda: told(sender))
    [request] = here.requests
    assert verified(request, old) == verified(request, new)
    assert request.headers["webhook-signature"].count("v1,") == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "heard"),
    [
        ("UPDATE users SET disabled_at = now()", True),
        ("DELETE FROM users", False),
    ],
)
def test_a_disabled_accounts_webhooks_are_still_signed_and_a_deleted_ones_are_not_sent(
    sender: Sender, change: str, heard: bool
) -> None:
    with receiver(answer(200)) as here:
        sender.finished(here.url)
        sender.execute(change)
        with delivering(sender.engine):
            wait_until(lambda: told(sender))
    assert [bool(verified(request, secrets_of(sender)[0])) for request in here.requests] == [True] * heard
    if not heard:
        [row] = sender.rows("SELECT last_error FROM webhook_deliveries")
        assert row.last_error == "The account that asked for it does not exist any more."
