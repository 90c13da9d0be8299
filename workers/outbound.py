"""The one way out: HTTP requests to addresses that users name, checked on the address that is dialled."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import ip_address
from ssl import SSLContext
from typing import Any
from urllib.parse import urljoin

import httpcore

from workers.addresses import Address, ForbiddenUrl, Network, Target, check_address, check_url

CONNECT_SECONDS = 5.0
# Of an answer's body nothing is used, but a receiver may finish writing so much of it.
DRAINED_BYTES = 64 * 1024
# What went wrong may quote the other side, which may say much.
MAX_REASON_LENGTH = 200
MAX_REDIRECTS = 3
_WRITTEN_AT_ONCE = 64 * 1024

_REDIRECTS = (301, 302, 303, 307, 308)
_HTTP_ERRORS = (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError)


class NoAnswer(Exception):
    """The other side cannot be reached, or gives no proper answer in time."""


class TooMuch(Exception):
    """The other side sends more than is wanted."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The status and the headers (names in lower case) that came back."""

    status: int
    headers: Mapping[str, str]


class OutboundClient:
    """Sends requests past the guard; uses no proxies. Safe to share between threads.

    Every request has a connection of its own, so each is resolved and checked anew. `timeout_seconds`
    bounds the whole of it, from the name's resolution on.
    """

    def __init__(self, allow: Sequence[Network] = (), *, timeout_seconds: float = 10.0) -> None:
        self._allow = allow
        self._timeout_seconds = timeout_seconds
        self._tls: SSLContext = httpcore.default_ssl_context()

    def post(self, url: str, content: bytes, headers: Mapping[str, str]) -> Answer:
        """POST `content`; no redirect is followed. Raises `ForbiddenUrl`, `ForbiddenAddress`, `NoAnswer`."""
        target = check_url(url, self._allow)
        deadline = Deadline(self._timeout_seconds)
        with self._exchange("POST", target, content, headers, deadline) as response:
            with suppress(*_HTTP_ERRORS):
                _drain(response.iter_stream())
            return Answer(response.status, _readable(response.headers))

    def get(self, url: str, *, max_bytes: int) -> bytes:
        """What lies at a URL, after no more than three redirects, each of them checked like the first URL.

        Raises `ForbiddenUrl`, `ForbiddenAddress`, `NoAnswer` and, before it has read more than
        `max_bytes`, `TooMuch`.
        """
        deadline = Deadline(self._timeout_seconds)
        for _ in range(MAX_REDIRECTS + 1):
            target = check_url(url, self._allow)
            # Decoded, a compressed answer could be of any length.
            headers = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "augury"}
            with self._exchange("GET", target, b"", headers, deadline) as response:
                answer = Answer(response.status, _readable(response.headers))
                if answer.status not in _REDIRECTS:
                    return _body(answer, response.iter_stream(), target, max_bytes)
            url = _redirected(url, answer, target)
        raise NoAnswer(f"{target.authority} redirects once more, after {MAX_REDIRECTS} times")

    @contextmanager
    def _exchange(
        self, method: str, target: Target, content: bytes, headers: Mapping[str, str], deadline: Deadline
    ) -> Iterator[httpcore.Response]:
        """A request and its response, whose body may be read. Raises `NoAnswer`, also while it is read."""
        url = httpcore.URL(
            scheme=target.scheme.encode(),
            host=target.host.encode(),
            port=target.port,
            target=target.path.encode(),
        )
        connection = httpcore.HTTPConnection(
            url.origin, ssl_context=self._tls, network_backend=GuardedBackend(self._allow, deadline)
        )
        sent = [("Host", target.authority), ("Connection", "close"), *headers.items()]
        try:
            with (
                connection,
                connection.stream(method, url, headers=sent, content=content or None) as response,
            ):
                yield response
        except httpcore.TimeoutException as error:
            raise NoAnswer(f"{target.authority} did not answer in time") from error
        except _HTTP_ERRORS as error:
            reason = str(error)[:MAX_REASON_LENGTH] or type(error).__name__
            raise NoAnswer(f"{target.authority} gave no proper answer: {reason}") from error


class Deadline:
    """When a request must be over, on the monotonic clock."""

    def __init__(self, seconds: float) -> None:
        self._ends_at = time.monotonic() + seconds

    def remaining_seconds(self) -> float:
        """What is left, more than nothing. Raises `httpcore.ReadTimeout`."""
        remaining = self._ends_at - time.monotonic()
        if remaining <= 0:
            raise httpcore.ReadTimeout("the deadline has passed")
        return remaining


class GuardedBackend(httpcore.NetworkBackend):
    """Resolves a name once, refuses it if any of its addresses is forbidden, and dials exactly those.

    The host's name still is what TLS verifies and what the Host header says.
    """

    def __init__(self, allow: Sequence[Network], deadline: Deadline) -> None:
        self._allow = allow
        self._deadline = deadline
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        addresses = _resolve(host, port)
        for address in addresses:
            check_address(address, port, self._allow)
        for address in addresses[:-1]:
            with suppress(httpcore.ConnectError, httpcore.ConnectTimeout):
                return self._dial(address, port)
        return self._dial(addresses[-1], port)

    def _dial(self, address: Address, port: int) -> httpcore.NetworkStream:
        timeout = min(CONNECT_SECONDS, self._deadline.remaining_seconds())
        return DeadlineStream(self._sockets.connect_tcp(str(address), port, timeout), self._deadline)


class DeadlineStream(httpcore.NetworkStream):
    """A connection that ends with the request's deadline, however slowly the other side drips."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._deadline.remaining_seconds())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), _WRITTEN_AT_ONCE):
            self._stream.write(buffer[start : start + _WRITTEN_AT_ONCE], self._deadline.remaining_seconds())

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        secured = self._stream.start_tls(ssl_context, server_hostname, self._deadline.remaining_seconds())
        return DeadlineStream(secured, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _resolve(host: str, port: int) -> list[Address]:
    """The distinct addresses of a host, in the resolver's order. Raises `NoAnswer`."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        raise NoAnswer(f"{host} cannot be resolved: {error}") from error
    return list(dict.fromkeys(ip_address(entry[4][0]) for entry in found))


def _readable(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in headers}


def _redirected(url: str, answer: Answer, target: Target) -> str:
    """Where a redirect leads. Raises `ForbiddenUrl` where it would leave TLS, and `NoAnswer`."""
    if "location" not in answer.headers:
        raise NoAnswer(f"{target.authority} redirects nowhere")
    following = urljoin(url, answer.headers["location"])
    if target.scheme == "https" and not following.lower().startswith("https:"):
        raise ForbiddenUrl("must not redirect from https to anything else")
    return following


def _body(answer: Answer, chunks: Iterable[bytes], target: Target, max_bytes: int) -> bytes:
    if answer.status != 200:
        raise NoAnswer(f"{target.authority} answered with status {answer.status}")
    if answer.headers.get("content-encoding", "identity").lower() != "identity":
        raise NoAnswer(f"{target.authority} sent what is compressed, although that was not accepted")
    declared = answer.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > max_bytes:
        raise TooMuch(f"{target.authority} offers {declared} bytes")
    body = bytearray()
    for chunk in chunks:
        body += chunk
        if len(body) > max_bytes:
            raise TooMuch(f"{target.authority} sends more than {max_bytes} bytes")
    return bytes(body)


def _drain(chunks: Iterable[bytes]) -> None:
    received = 0
    for chunk in chunks:
        received += len(chunk)
        if received >= DRAINED_BYTES:
            return
