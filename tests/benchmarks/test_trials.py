"""What all load scripts do with servers that refuse, and what they say of latencies."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from click.testing import CliRunner, Result

from benchmarks import embeddings
from benchmarks.trials import percentile
from cli.embedded import free_port


class Handler(BaseHTTPRequestHandler):
    """Refuses every third request."""

    requests = 0

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        Handler.requests += 1
        self.send_response(429 if Handler.requests % 3 == 0 else 200)
        self.end_headers()
        self.wfile.write(b'{"data": [{}]}')

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def load(port: int, *arguments: str) -> Result:
    url = f"http://127.0.0.1:{port}"
    return CliRunner().invoke(embeddings.main, ["--url", url, "--models", "m", *arguments])


def test_what_fails_is_counted_by_its_reason_and_makes_the_script_fail(port: int) -> None:
    result = load(port, "--n-requests", "8", "--concurrency", "3")

    assert result.exit_code == 1
    rows = dict(line.replace("│", "|").split("|")[1:3] for line in result.stdout.splitlines() if "│" in line)
    told = {name.strip(): value.strip() for name, value in rows.items()}
    assert told["requests served"] == "5"
    assert told["failed: 429 Too Many Requests"] == "3"


def test_a_server_that_is_not_there_ends_the_script_with_a_sentence() -> None:
    result = load(free_port())

    assert result.exit_code == 1
    assert "Error: m: ConnectError: " in result.stderr


def test_several_models_need_names() -> None:
    result = load(1, "--models", " , ")

    assert result.exit_code == 2
    assert "names no model" in result.stderr


@pytest.mark.parametrize(("percent", "value"), [(50, 2), (75, 3), (76, 4), (99, 4), (100, 4)])
def test_a_percentile_is_a_value_that_was_measured(percent: float, value: float) -> None:
    assert percentile([4, 1, 3, 2], percent) == value
