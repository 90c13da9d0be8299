"""Connections of clients to a gateway that runs as a process."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from urllib.parse import urlsplit

import httpx
import pytest

from tests.stack import Stack, wait_until

# As long as httpx, and with it the official clients, keeps a connection that it does not use.
CLIENTS_KEEP_SECONDS = 5.0

pytestmark = pytest.mark.slow


def test_the_server_does_not_hang_up_on_a_client_that_keeps_its_connection(stack: Stack) -> None:
    stack.start_gateway()
    place = urlsplit(stack.url)
    assert place.hostname is not None
    stack.wait_until_ready()
    connection = HTTPConnection(place.hostname, place.port or 80, timeout=10)
    for pause_seconds in (0.0, CLIENTS_KEEP_SECONDS + 1):
        time.sleep(pause_seconds)
        connection.request("GET", "/ready")
        response = connection.getresponse()
        response.read()
        assert connection.sock is not None, "the server has hung up"
    connection.close()


def test_a_gateway_that_stops_answers_those_who_wait_with_what_there_is(stack: Stack) -> None:
    stack.start_gateway()
    stack.wait_until_ready()
    body = {"model": stack.add_echo(), "input": {"text": "nobody works here"}}
    headers = {"Authorization": f"Bearer {stack.token()}"}
    with (
        httpx.Client(base_url=stack.url, headers=headers, timeout=30, trust_env=False) as http,
        ThreadPoolExecutor(1) as client,
    ):
        wait = {"Prefer": "wait=60"}
        waiting = client.submit(http.post, "/v1/predictions", json=body, headers=wait)
        wait_until(lambda: http.get("/v1/predictions").json()["results"] != [], 10, "the prediction")
        began = time.monotonic()
        stack.stop("gateway")
        assert time.monotonic() - began < 8
        answer = waiting.result()
    assert (answer.status_code, answer.json()["status"]) == (httpx.codes.ACCEPTED, "starting")
