"""A load generator in a process of its own: keep-alive HTTP/1.1, prepared bytes out, status and body in.

It parses no more than the status line and Content-Length, so that it costs a fraction of what any server
costs. Closed loop: each connection has one request under way and sends the next when the answer is there.
Open loop: requests go out at the times that were set for them, whatever has been answered.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import cast

import msgspec

_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_GRACE_SECONDS = 120.0


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What to send: `requests` in turn over `connections`, `total` in all or for `seconds`.

    With `arrivals` one goes out at each of these times, ascending, in seconds from the start; latencies count
    from them.
    """

    port: int
    requests: Sequence[bytes]
    connections: int
    host: str = "127.0.0.1"
    total: int | None = None
    seconds: float | None = None
    arrivals: Sequence[float] | None = None
    keep_bodies: bool = False


class Answers(msgspec.Struct, frozen=True, kw_only=True):
    """What came back: latencies in the order of the answers; bodies in the order of the requests, if kept.

    `started_at` is when the first request went out, by `time.monotonic`, whose clock processes share.
    """

    statuses: Mapping[int, int]
    started_at: float
    elapsed_seconds: float
    cpu_seconds: float
    latencies_ms: Sequence[float]
    bodies: Sequence[bytes] = ()

    @property
    def per_second(self) -> float:
        return len(self.latencies_ms) / self.elapsed_seconds

    @property
    def p50_ms(self) -> float:
        return median(self.latencies_ms)

    @property
    def p95_ms(self) -> float:
        return sorted(self.latencies_ms)[int(len(self.latencies_ms) * 0.95)]


class UnexpectedAnswer(RuntimeError):
    """The server answered with another status than the benchmark is about; its figures mean nothing."""


class LoadFailed(RuntimeError):
    """The load generator ended early; the message is the end of what it wrote."""


def request(
    method: str, path: str, *, headers: Mapping[str, str] | None = None, body: bytes | None = None
) -> bytes:
    """The bytes of one request."""
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: 127.0.0.1",
        *(f"{k}: {v}" for k, v in (headers or {}).items()),
    ]
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + (body or b"")


def apply(load: Load, *, expect: int) -> Answers:
    """Apply the load from another process. Raises `UnexpectedAnswer` unless every answer has that status."""
    process = subprocess.run(
        [sys.executable, "-m", "benchmarks.load"],
        input=msgspec.msgpack.encode(load),
        capture_output=True,
        timeout=(load.seconds or _GRACE_SECONDS) + _GRACE_SECONDS,
        check=False,
    )
    if process.returncode != 0:
        raise LoadFailed(process.stderr.decode(errors="replace")[-2000:])
    answers = msgspec.msgpack.decode(process.stdout, type=Answers)
    if set(answers.statuses) != {expect}:
        raise UnexpectedAnswer(f"expected only {expect}, got {dict(answers.statuses)}")
    return answers


class _Run:
    """What the connections share: the next request to send, and what has come back."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._sent = 0
        self._start = 0.0
        self._end = float("inf")
        self._total = load.total if load.arrivals is None else len(load.arrivals)
        self.statuses: Counter[int] = Counter()
        self.latencies_ms: list[float] = []
        self.bodies: dict[int, bytes] = {}

    def start(self) -> None:
        self._start = time.monotonic()
        if self._load.seconds is not None:
            self._end = self._start + self._load.seconds

    def next(self, now: float) -> tuple[int, float, bytes] | None:
        """The next request, its number and when it is to go out; None when there is no more to send."""
        if now >= self._end or self._sent == self._total:
            return None
        number, self._sent = self._sent, self._sent + 1
        arrivals = self._load.arrivals
        due = now if arrivals is None else self._start + arrivals[number]
        return number, due, self._load.requests[number % len(self._load.requests)]

    def note(self, number: int, status: int, milliseconds: float, body: bytes) -> None:
        self.statuses[status] += 1
        self.latencies_ms.append(milliseconds)
        if self._load.keep_bodies:
            self.bodies[number] = body


class _Connection(asyncio.Protocol):
    """One keep-alive connection."""

    def __init__(self, run: _Run) -> None:
        self._run = run
        self._buffer = b""
        self._number = 0
        self._sent_at = 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one by conduct, not by descent

    def send_next(self) -> None:
        now = time.monotonic()
        following = self._run.next(now)
        if following is None:
            self.done.set_result(None)
            self._transport.close()
            return
        self._number, self._sent_at, request_bytes = following
        if self._sent_at > now:
            delay = self._sent_at - now
            asyncio.get_running_loop().call_later(delay, self._transport.write, request_bytes)
        else:
            self._transport.write(request_bytes)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head_end = self._buffer.find(b"\r\n\r\n")
        if head_end < 0:
            return
        length = _CONTENT_LENGTH.search(self._buffer, 0, head_end)
        if length is None:
            self._fail(LoadFailed(f"an answer without Content-Length: {self._buffer[:200]!r}"))
            return
        body_start = head_end + 4
        if len(self._buffer) < body_start + int(length[1]):
            return
        milliseconds = (time.monotonic() - self._sent_at) * 1000
        self._run.note(self._number, int(self._buffer[9:12]), milliseconds, self._buffer[body_start:])
        self._buffer = b""
        self.send_next()

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(LoadFailed(f"the server closed a connection: {exc}"))

    def _fail(self, error: LoadFailed) -> None:
        if not self.done.done():
            self.done.set_exception(error)


async def _drive(load: Load) -> Answers:
    run = _Run(load)
    loop = asyncio.get_running_loop()
    connections = [
        (await loop.create_connection(lambda: _Connection(run), load.host, load.port))[1]
        for _ in range(load.connections)
    ]
    run.start()
    started_at, cpu_started = time.monotonic(), time.process_time()
    for connection in connections:
        connection.send_next()
    await asyncio.gather(*(connection.done for connection in connections))
    return Answers(
        statuses=run.statuses,
        started_at=started_at,
        elapsed_seconds=time.monotonic() - started_at,
        cpu_seconds=time.process_time() - cpu_started,
        latencies_ms=run.latencies_ms,
        bodies=[run.bodies[number] for number in sorted(run.bodies)],
    )


def main() -> None:
    """Read a `Load` from standard input, apply it, write the `Answers` to standard output."""
    load = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Load)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        answers = runner.run(_drive(load))
    # With PYTHONUNBUFFERED, sys.stdout may take only a part of what it is given.
    with open(sys.stdout.fileno(), "wb", closefd=False) as output:
        output.write(msgspec.msgpack.encode(answers))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, where there is one."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


if __name__ == "__main__":
    main()
