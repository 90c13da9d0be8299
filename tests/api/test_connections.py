"""Connections of clients to a gateway that runs as a process."""

from __future__ import annotations

import time
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest

from tests.stack import Stack

# As long as httpx, and with it the official clients, keeps a connection that it does not use.
CLIENTS_KEEP_SECONDS = 5.0


@pytest.mark.slow
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
