"""What may be called from here, and that the check is on the address that is dialled."""

from __future__ import annotations

import socket
import time
from http.server import BaseHTTPRequestHandler
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis.strategies import ip_addresses

from tests.workers.receivers import CERTIFICATE, answer, hang_up, receiver
from workers.addresses import ForbiddenAddress, ForbiddenUrl, check_address, check_url, is_public
from workers.outbound import NoAnswer, OutboundClient

LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))


@pytest.fixture
def client() -> OutboundClient:
    """A client that may reach this machine."""
    return OutboundClient(LOOPBACK, timeout_seconds=2)


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "127.255.0.9", "169.254.169.254", "172.31.0.1",
        "192.0.0.8", "192.0.0.192", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.51.100.7",
        "203.0.113.9", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
    ],
)  # fmt: skip
def test_special_ipv4_addresses_are_not_public(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize(
    ("address", "disguise"),
    [
        ("::", "unspecified"),
        ("::1", "loopback"),
        ("::127.0.0.1", "IPv4-compatible loopback"),
        ("::ffff:127.0.0.1", "IPv4-mapped loopback"),
        ("::ffff:169.254.169.254", "IPv4-mapped metadata service"),
        ("::ffff:0:127.0.0.1", "IPv4-translated loopback"),
        ("64:ff9b::127.0.0.1", "NAT64 of loopback"),
        ("64:ff9b::a9fe:a9fe", "NAT64 of the metadata service"),
        ("64:ff9b::10.0.0.1", "NAT64 of a private address"),
        ("64:ff9b:1::8.8.8.8", "NAT64 for local use"),
        ("64:ff9b:1:fffe::a9fe:a9fe", "NAT64 for local use of the metadata service"),
        ("2002:7f00:1::", "6to4 of loopback"),
        ("2002:a9fe:a9fe::1", "6to4 of the metadata service"),
        ("2001:0:4136:e378:8000:63bf:80ff:fffe", "Teredo of loopback"),
        ("2001:0:a9fe:a9fe::1", "Teredo with the metadata service as its server"),
        ("2001:10::1", "ORCHID"),
        ("2001:db8::1", "documentation"),
        ("3fff::1", "documentation, the newer"),
        ("100::1", "discard only"),
        ("5f00::1", "segment routing"),
        ("fc00::1", "unique local"),
        ("fd00:ec2::254", "the metadata service's own IPv6 address"),
        ("fe80::1", "link-local"),
        ("fe80::1%1", "link-local with its zone"),
        ("fec0::1", "site-local"),
        ("ff02::1", "multicast"),
        ("ff0e::1", "global multicast"),
        ("4000::1", "not given out"),
    ],
)
def test_no_disguise_makes_an_ipv6_address_public(address: str, disguise: str) -> None:
    with pytest.raises(ForbiddenAddress):
        check_address(ip_address(address), 443)


@pytest.mark.parametrize(
    "address",
    ["1.1.1.1", "8.8.8.8", "172.32.0.1", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"],
)
def test_hosts_on_the_internet_are_public(address: str) -> None:
    check_address(ip_address(address), 443)


@given(ip_addresses())
def test_whatever_python_calls_not_global_is_not_public(address: IPv4Address | IPv6Address) -> None:
    if not address.is_global and getattr(address, "ipv4_mapped", None) is None:
        assert not is_public(address)


@pytest.mark.parametrize(
    ("url", "because"),
    [
        ("ftp://example.com/", "must begin with http"),
        ("file:///etc/passwd", "must begin with http"),
        ("gopher://example.com:6379/_FLUSHALL", "must begin with http"),
        ("example.com/hook", "must begin with http"),
        ("http://", "must begin with http"),
        ("http://user:secret@example.com/", "user name"),
        ("http://good.example@127.0.0.1/", "user name"),
        ("http://example.com\\@127.0.0.1/", "ASCII"),
        ("http://exam\nple.com/", "ASCII"),
        ("http://example.com/ hook", "ASCII"),
        ("http://bücher.example/", "ASCII"),
        ("http://example.com:99999/", "must be a URL"),
        ("http://[::1/", "must be a URL"),
        ("http://example.com:6379/", "must use port 80 or 443, not 6379"),
        ("http://8.8.8.8:22/", "must use port 80 or 443, not 22"),
        ("http://example.com:0/", "must use port 80 or 443, not 0"),
        ("http://localhost/", "this machine"),
        ("http://api.localhost/", "this machine"),
        ("http://127.0.0.1/", "127.0.0.1, which is not a public address"),
        ("http://2130706433/", "127.0.0.1, which is not a public address"),
        ("http://0x7f.1/", "127.0.0.1, which is not a public address"),
        ("http://0177.0.0.01/", "127.0.0.1, which is not a public address"),
        ("http://127.1/", "127.0.0.1, which is not a public address"),
        ("http://[::1]/", "::1, which is not a public address"),
        ("http://[::ffff:10.0.0.1]/", "10.0.0.1, which is not a public address"),
        ("http://169.254.169.254/latest/meta-data/", "not a public address"),
        ("https://example.com/" + "a" * 2048, "longer"),
    ],
)
def test_urls_are_refused_with_the_reason(url: str, because: str) -> None:
    with pytest.raises(ForbiddenUrl, match=because):
        check_url(url)


def test_a_proper_url_is_taken_apart() -> None:
    target = check_url("https://Hooks.Example.com/a/b?c=d#e")
    assert (target.scheme, target.host, target.port, target.path) == (
        "https", "hooks.example.com", 443, "/a/b?c=d",
    )  # fmt: skip
    assert target.authority == "hooks.example.com"
    assert check_url("http://[2606:4700::1]").authority == "[2606:4700::1]"


def test_an_allowed_network_may_be_reached_on_any_port() -> None:
    allow = (ip_network("10.0.0.0/8"),)
    assert check_url("http://10.1.2.3:8080/", allow).authority == "10.1.2.3:8080"
    with pytest.raises(ForbiddenAddress, match="not a public address"):
        check_url("http://192.168.0.1:8080/", allow)
    with pytest.raises(ForbiddenAddress, match="port"):
        check_url("http://8.8.8.8:8080/", allow)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0x7f.1", "2130706433", "127.1"])
def test_a_name_that_leads_here_is_refused_when_it_is_dialled(host: str) -> None:
    elsewhere = OutboundClient((ip_network("10.0.0.0/8"),))
    with receiver(answer(200)) as here, pytest.raises(ForbiddenAddress, match="not a public address"):
        elsewhere.post(f"http://{host}:{here.port}/", b"{}", {})
    assert here.requests == []


def test_a_name_is_refused_if_any_of_its_addresses_is() -> None:
    families = {entry[0] for entry in socket.getaddrinfo("localhost", 80)}
    only_ipv6 = OutboundClient((ip_network("::1/128"),))
    assert socket.AF_INET in families
    with receiver(answer(200)) as here, pytest.raises(ForbiddenAddress):
        only_ipv6.post(f"http://localhost:{here.port}/", b"{}", {})
    assert here.requests == []


def test_a_post_arrives_as_it_was_sent(client: OutboundClient) -> None:
    with receiver(answer(200, X_Seen="yes")) as here:
        reply = client.post(f"http://localhost:{here.port}/hook?a=b", b'{"x": 1}', {"Content-Type": "text/x"})
    [request] = here.requests
    assert (reply.status, reply.headers["x-seen"]) == (200, "yes")
    assert (request.path, request.body) == ("/hook?a=b", b'{"x": 1}')
    assert request.headers["Host"] == f"localhost:{here.port}"
    assert request.headers["Content-Type"] == "text/x"
    assert request.headers["Content-Length"] == "8"


def test_proxies_in_the_environment_are_not_used(
    client: OutboundClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiver(answer(502)) as proxy, receiver(answer(200)) as here:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        assert client.post(here.url, b"{}", {}).status == 200
    assert proxy.requests == []


def test_redirects_are_not_followed(client: OutboundClient) -> None:
    with receiver(answer(302, Location="http://169.254.169.254/latest/meta-data/")) as here:
        assert client.post(here.url, b"{}", {}).status == 302
    assert len(here.requests) == 1


def test_a_closed_port_and_an_unknown_name_are_no_answer(client: OutboundClient) -> None:
    with receiver(answer(200)) as gone:
        url = gone.url
    with pytest.raises(NoAnswer, match="refused"):
        client.post(url, b"{}", {})
    with pytest.raises(NoAnswer, match=r"no-such-host\.invalid cannot be resolved"):
        client.post("http://no-such-host.invalid/", b"{}", {})


def test_a_connection_that_breaks_off_is_no_answer(client: OutboundClient) -> None:
    with receiver(hang_up) as here, pytest.raises(NoAnswer):
        client.post(here.url, b"{}", {})


@pytest.mark.slow
def test_a_dripping_answer_ends_at_the_deadline() -> None:
    def drip(handler: BaseHTTPRequestHandler, _: int) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
        for _ in range(100):
            handler.wfile.write(b"a")
            time.sleep(0.05)

    impatient = OutboundClient(LOOPBACK, timeout_seconds=0.5)
    started = time.monotonic()
    with receiver(drip) as here, pytest.raises(NoAnswer, match="in time"):
        impatient.post(here.url, b"{}", {})
    assert time.monotonic() - started < 6


def test_an_endless_body_is_cut_off(client: OutboundClient) -> None:
    def endless(handler: BaseHTTPRequestHandler, _: int) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            handler.wfile.write(b"x" * 65536)

    with receiver(endless) as here:
        assert client.post(here.url, b"{}", {}).status == 200


def test_the_host_that_was_named_is_the_one_that_tls_verifies(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiver(answer(200), certificate=CERTIFICATE) as here:
        stranger = OutboundClient(LOOPBACK, timeout_seconds=2)
        with pytest.raises(NoAnswer, match="CERTIFICATE_VERIFY_FAILED"):
            stranger.post(f"https://localhost:{here.port}/", b"{}", {})
        monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
        acquainted = OutboundClient(LOOPBACK, timeout_seconds=2)
        assert acquainted.post(f"https://localhost:{here.port}/", b"{}", {}).status == 200
        with pytest.raises(NoAnswer, match=r"not valid for '127\.0\.0\.1'"):
            acquainted.post(f"https://127.0.0.1:{here.port}/", b"{}", {})
