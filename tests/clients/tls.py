"""A reverse proxy that speaks TLS, as an operator puts one before the gateway."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

import httpx

from tests.workers.receivers import CERTIFICATE, QuietServer

# What is between two neighbours alone (RFC 9110 §7.6.1), and what the proxy finds out by itself.
_BETWEEN_NEIGHBOURS = {"connection", "keep-alive", "transfer-encoding", "content-length", "content-encoding"}


@contextmanager
def https_before(url: str) -> Iterator[str]:
    """Answers at https://localhost:… what the server at `url` does, which learns of it by a header."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.do_POST()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {**dict(self.headers.items()), "X-Forwarded-Proto": "https"}
            response = behind.request(self.command, self.path, headers=headers, content=body)
            self.send_response(response.status_code)
            for name, value in response.headers.items():
                if name.lower() not in _BETWEEN_NEIGHBOURS:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(response.content)))
            self.end_headers()
            self.wfile.write(response.content)

        def log_message(self, format: str, *args: object) -> None:
            """Keep quiet."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    server = QuietServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    with httpx.Client(base_url=url, timeout=60) as behind:
        thread.start()
        try:
            yield f"https://localhost:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
            server.server_close()
