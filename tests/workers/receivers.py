"""Real HTTP receivers on loopback for what Augury sends out."""

from __future__ import annotations

import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

# Self-signed, for the name localhost, with its key.
CERTIFICATE = Path(__file__).with_name("localhost.pem")


@dataclass(frozen=True)
class Received:
    """One request as it came in."""

    path: str
    headers: dict[str, str]
    body: bytes


Respond = Callable[[BaseHTTPRequestHandler, int], None]


@dataclass
class Receiver:
    """Where it listens, and what it has received so far."""

    port: int
    address: str = "127.0.0.1"
    requests: list[Received] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://{self.address}:{self.port}"


def answer(status: int, **headers: str) -> Respond:
    """Answer every request alike. Header names are given with underscores."""

    def respond(handler: BaseHTTPRequestHandler, _: int) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", "2")
        handler.end_headers()
        handler.wfile.write(b"ok")

    return respond


def serve(body: bytes, **headers: str) -> Respond:
    """Answer every request with this file. Header names are given with underscores."""

    def respond(handler: BaseHTTPRequestHandler, _: int) -> None:
        handler.send_response(200)
        for name, value in ({"Content_Length": str(len(body))} | headers).items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return respond


def in_turn(*responses: Respond) -> Respond:
    """Answer the first request with the first response, and so on; the last one serves the rest."""

    def respond(handler: BaseHTTPRequestHandler, number: int) -> None:
        responses[min(number, len(responses)) - 1](handler, number)

    return respond


def hang_up(handler: BaseHTTPRequestHandler, _: int) -> None:
    """Close the connection without a word."""
    handler.close_connection = True


class QuietServer(ThreadingHTTPServer):
    """Says nothing when a client hangs up."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


@contextmanager
def receiver(
    respond: Respond, *, certificate: Path | None = None, address: str = "127.0.0.1"
) -> Iterator[Receiver]:
    """A server on a free port of a loopback address.

    `respond` gets the handler and the request's number, from 1 on.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.do_POST()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            with lock:
                received.requests.append(Received(self.path, dict(self.headers.items()), body))
                number = len(received.requests)
            respond(self, number)

        def log_message(self, format: str, *args: Any) -> None:
            """Keep quiet."""

    lock = threading.Lock()
    server = QuietServer((address, 0), Handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    received = Receiver(server.server_port, address)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield received
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
