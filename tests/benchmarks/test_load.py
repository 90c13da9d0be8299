"""The load generator counts what comes back, whole and in pieces, and refuses to count what should not."""

from __future__ import annotations

import socketserver
import threading
import time
from collections.abc import Iterator

import pytest

from benchmarks.load import Load, LoadFailed, UnexpectedAnswer, apply, request


class Server(socketserver.ThreadingTCPServer):
    """Answers `/<status>/<name>` with that status, a body that names the request, and in two pieces."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        while line := self.rfile.readline():
            _, status, name = line.split()[1].decode().split("/")
            while self.rfile.readline().strip():
                continue
            if status == "hangup":
                return
            answer = f"HTTP/1.1 {status} Whatever\r\nContent-length: {len(name)}\r\n\r\n{name}".encode()
            self.wfile.write(answer[:-2])
            time.sleep(0.001)
            self.wfile.write(answer[-2:])


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def get(path: str) -> bytes:
    return request("GET", path)


@pytest.mark.slow
def test_an_open_loop_sends_when_it_is_time_whatever_has_been_answered(server: Server) -> None:
    load = Load(port=server.port, requests=[get("/200/a")], connections=2, arrivals=[0.0, 0.3, 0.3, 0.6])
    answers = apply(load, expect=200)
    assert len(answers.latencies_ms) == 4
    assert 0.6 <= answers.elapsed_seconds < 5
    assert max(answers.latencies_ms) < 250


@pytest.mark.slow
def test_bodies_come_in_the_order_of_the_requests_and_every_answer_is_timed(server: Server) -> None:
    names = [f"request-{number}" for number in range(20)]
    load = Load(
        port=server.port,
        requests=[get(f"/200/{name}") for name in names],
        connections=4,
        total=20,
        keep_bodies=True,
    )

    answers = apply(load, expect=200)

    assert [body.decode() for body in answers.bodies] == names
    assert len(answers.latencies_ms) == 20
    assert min(answers.latencies_ms) >= 1
    assert answers.statuses == {200: 20}


@pytest.mark.slow
def test_a_load_for_a_time_ends_after_it(server: Server) -> None:
    load = Load(port=server.port, requests=[get("/201/echo")], connections=2, seconds=0.2)

    answers = apply(load, expect=201)

    assert answers.elapsed_seconds >= 0.2
    assert answers.per_second == len(answers.latencies_ms) / answers.elapsed_seconds


@pytest.mark.slow
def test_another_status_than_the_expected_spoils_the_whole_run(server: Server) -> None:
    load = Load(port=server.port, requests=[get("/200/ok"), get("/429/slow")], connections=1, total=2)

    with pytest.raises(UnexpectedAnswer, match="429"):
        apply(load, expect=200)


def test_a_server_that_hangs_up_is_no_result(server: Server) -> None:
    load = Load(port=server.port, requests=[get("/hangup/now")], connections=1, total=1)

    with pytest.raises(LoadFailed, match="closed a connection"):
        apply(load, expect=200)
