"""Fetching what users name: every hop is checked, and nothing is read past its bound."""

from __future__ import annotations

import gzip
import threading
import time
from http.server import BaseHTTPRequestHandler
from ipaddress import ip_network

import pytest

from tests.workers.receivers import CERTIFICATE, answer, in_turn, receiver, serve
from workers.addresses import ForbiddenAddress, ForbiddenUrl
from workers.outbound import NoAnswer, OutboundClient, TooMuch

LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
MAX_BYTES = 1000


@pytest.fixture
def client() -> OutboundClient:
    """A client that may reach this machine."""
    return OutboundClient(LOOPBACK, timeout_seconds=2)


def test_what_lies_at_a_url_is_fetched(client: OutboundClient) -> None:
    with receiver(serve(b"picture")) as here:
        assert client.get(f"http://localhost:{here.port}/a.png?b=c", max_bytes=MAX_BYTES) == b"picture"
    [request] = here.requests
    assert request.path == "/a.png?b=c"
    assert request.headers["Host"] == f"localhost:{here.port}"
    assert request.headers["Accept-Encoding"] == "identity"


def test_redirects_are_followed_three_times(client: OutboundClient) -> None:
    hops = [answer(status, Location=f"/{status}") for status in (301, 302, 307)]
    with receiver(in_turn(*hops, serve(b"at last"))) as here:
        assert client.get(here.url, max_bytes=MAX_BYTES) == b"at last"
    assert [request.path for request in here.requests] == ["/", "/301", "/302", "/307"]


def test_the_fourth_redirect_is_one_too_many(client: OutboundClient) -> None:
    with receiver(answer(302, Location="/again")) as here, pytest.raises(NoAnswer, match="redirects once"):
        client.get(here.url, max_bytes=MAX_BYTES)
    assert len(here.requests) == 4


@pytest.mark.parametrize(
    "inside",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://[::ffff:169.254.169.254]/",
        "http://[64:ff9b::a9fe:a9fe]/",
        "http://10.0.0.1/",
        "http://0x0a.1/",
    ],
)
def test_a_redirect_leads_nowhere_that_a_url_may_not_lead(client: OutboundClient, inside: str) -> None:
    with receiver(answer(302, Location=inside)) as here, pytest.raises(ForbiddenAddress):
        client.get(here.url, max_bytes=MAX_BYTES)


def test_a_redirect_to_a_name_is_checked_where_it_is_dialled() -> None:
    only_one = OutboundClient((ip_network("127.0.0.2/32"),), timeout_seconds=2)
    with receiver(serve(b"secret")) as inside:
        inwards = answer(302, Location=f"http://localhost:{inside.port}/")
        refused = pytest.raises(ForbiddenAddress, match="not a public address")
        with receiver(inwards, address="127.0.0.2") as outside, refused:
            only_one.get(outside.url, max_bytes=MAX_BYTES)
    assert (len(outside.requests), inside.requests) == (1, [])


@pytest.mark.parametrize(
    ("location", "because"),
    [
        ("file:///etc/passwd", "must begin with http"),
        ("gopher://127.0.0.1/_x", "must begin with http"),
        ("http://user:secret@127.0.0.1/", "user name"),
    ],
)
def test_a_redirect_does_not_leave_http(client: OutboundClient, location: str, because: str) -> None:
    with receiver(answer(302, Location=location)) as here, pytest.raises(ForbiddenUrl, match=because):
        client.get(here.url, max_bytes=MAX_BYTES)


def test_a_redirect_does_not_leave_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    client = OutboundClient(LOOPBACK, timeout_seconds=2)
    with receiver(serve(b"in the clear")) as plain:
        leaving = answer(302, Location=plain.url)
        refused = pytest.raises(ForbiddenUrl, match="from https")
        with receiver(leaving, certificate=CERTIFICATE) as here, refused:
            client.get(f"https://localhost:{here.port}/", max_bytes=MAX_BYTES)
    assert plain.requests == []


def test_a_length_that_is_too_much_is_not_waited_for(client: OutboundClient) -> None:
    with receiver(serve(b"", Content_Length="1001")) as here, pytest.raises(TooMuch, match="1001 bytes"):
        client.get(here.url, max_bytes=MAX_BYTES)


def test_an_endless_body_is_cut_off_at_the_limit(client: OutboundClient) -> None:
    stopped = threading.Event()

    def endless(handler: BaseHTTPRequestHandler, _: int) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            while True:
                handler.wfile.write(b"x" * 65_536)
        except OSError:
            stopped.set()

    with receiver(endless) as here, pytest.raises(TooMuch, match="more than 1000 bytes"):
        client.get(here.url, max_bytes=MAX_BYTES)
    assert stopped.wait(5)


def test_what_is_compressed_is_not_taken(client: OutboundClient) -> None:
    bomb = gzip.compress(bytes(1_000_000))
    with receiver(serve(bomb, Content_Encoding="gzip")) as here, pytest.raises(NoAnswer, match="compressed"):
        client.get(here.url, max_bytes=10_000)


@pytest.mark.parametrize("status", [201, 204, 304, 404, 500])
def test_any_other_status_is_no_file(client: OutboundClient, status: int) -> None:
    with receiver(answer(status)) as here, pytest.raises(NoAnswer, match=f"status {status}"):
        client.get(here.url, max_bytes=MAX_BYTES)


def test_a_body_that_breaks_off_is_no_answer(client: OutboundClient) -> None:
    with receiver(serve(b"half", Content_Length="8")) as here, pytest.raises(NoAnswer, match="no proper"):
        client.get(here.url, max_bytes=MAX_BYTES)


@pytest.mark.slow
def test_one_deadline_is_over_all_hops() -> None:
    def slowly(handler: BaseHTTPRequestHandler, _: int) -> None:
        time.sleep(0.3)
        answer(302, Location="/again")(handler, 1)

    impatient = OutboundClient(LOOPBACK, timeout_seconds=0.5)
    started = time.monotonic()
    with receiver(slowly) as here, pytest.raises(NoAnswer, match="in time"):
        impatient.get(here.url, max_bytes=MAX_BYTES)
    assert time.monotonic() - started < 5


def test_proxies_in_the_environment_are_not_used(
    client: OutboundClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiver(serve(b"proxied")) as proxy, receiver(serve(b"direct")) as here:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        assert client.get(here.url, max_bytes=MAX_BYTES) == b"direct"
    assert proxy.requests == []
