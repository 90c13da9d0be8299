"""What a client that follows a prediction is told: its output and logs as they come, then its end.

The wire is that of server-sent events (WHATWG HTML, "Server-sent events"), their names and data are
Replicate's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any, Literal

Chunks = Literal["text", "items"] | None

# One of these stands between the lines of an event. The standard knows the first three; Replicate's
# Python client takes the others for line ends too, and would lose what stands behind them.
_LINE_ENDS = re.compile("\r\n|[\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029]")
_ID = re.compile(r"(\d{1,9})-(\d{1,15})-([0-9a-f]{8})-(\d{1,15})", re.ASCII)
_DIGEST_BYTES = 4
_OVER = "-done"

KEEP_ALIVE = b": keep-alive\n\n"

EventName = Literal["output", "logs", "error", "done"]
# How an event of this name, with this data and id, is written.
Wire = Callable[[EventName, str, str], bytes]


class StartedAgain(Exception):
    """What a client has of the output is not how the output begins now: another attempt writes it anew."""


@dataclass(frozen=True, slots=True)
class Position:
    """How much a client has; as text, the id of an event, whose part in this it includes.

    Counted in characters, because chunks may be cut in other places when they come from another source:
    `output` with a digest of all of it, which every attempt may go on from, and `logs` of one attempt.
    """

    attempt: int = 0
    output: int = 0
    digest: str = "0" * 8
    logs: int = 0

    def __str__(self) -> str:
        return f"{self.attempt}-{self.output}-{self.digest}-{self.logs}"

    @classmethod
    def read(cls, event_id: str) -> Position:
        """The position in an event's id; the beginning, where it is no id of ours."""
        parts = _ID.fullmatch(event_id.removesuffix(_OVER))
        return cls(int(parts[1]), int(parts[2]), parts[3], int(parts[4])) if parts else cls()


class Tape:
    """A text that runs by from its beginning, of which a client knows the first part."""

    def __init__(self, known: int, digest: str | None = None) -> None:
        """`known` characters have this `digest`; None where they need not be compared."""
        self._known = known
        self._known_digest = digest
        self._hash = blake2b(digest_size=_DIGEST_BYTES)
        self.count = 0

    @property
    def digest(self) -> str:
        """Of all that has run by."""
        return self._hash.hexdigest()

    def run(self, text: str) -> str:
        """Let this run by; returns what of it the client does not know. Raises `StartedAgain`."""
        known = min(len(text), max(0, self._known - self.count))
        self._add(text[:known])
        if known and self.count == self._known and self._known_digest not in (None, self.digest):
            raise StartedAgain
        self._add(text[known:])
        return text[known:]

    def end(self) -> None:
        """Nothing comes any more. Raises `StartedAgain` when the client knows more than has run by."""
        if self.count < self._known:
            raise StartedAgain

    def _add(self, text: str) -> None:
        self.count += len(text)
        self._hash.update(text.encode())


class Telling:
    """Makes events for one client out of a source that is read from its beginning."""

    def __init__(
        self, position: Position, attempt: int, *, show: Callable[[Any], Any], wire: Wire | None = None
    ) -> None:
        """The source is of this attempt. `show` turns a value of an output into what clients see.

        `wire` writes the events, where that is not `event`.
        """
        self._event = wire or event
        self.position = position
        self.attempt = attempt
        self._show = show
        self._output = Tape(position.output, position.digest)
        self._logs = Tape(position.logs if position.attempt == attempt else 0)

    def output(self, value: Any) -> bytes:
        """What is new of one of the output's `pieces`. Raises `StartedAgain`."""
        text = text_of(value)
        fresh = self._output.run(text)
        if not fresh:
            return b""
        self.position = replace(self.position, output=self._output.count, digest=self._output.digest)
        shown = text_of(self._show(value)) if fresh == text else fresh
        return self._event("output", shown, str(self.position))

    def logs(self, text: str) -> bytes:
        """What is new of the next lines of the logs."""
        fresh = self._logs.run(text_of(text))
        if not fresh:
            return b""
        self.position = replace(self.position, attempt=self.attempt, logs=self._logs.count)
        return self._event("logs", fresh, str(self.position))

    def end(self) -> None:
        """The output is complete. Raises `StartedAgain`."""
        self._output.end()


def event(name: EventName, data: str, event_id: str) -> bytes:
    """One event on the wire."""
    lines = [f"id: {event_id}", f"event: {name}", *(f"data: {line}" for line in _LINE_ENDS.split(data))]
    return "\n".join([*lines, "", ""]).encode()


def done(position: Position, reason: str | None = None, *, wire: Wire = event) -> bytes:
    """The event that ends a stream."""
    return wire("done", text_of({"reason": reason} if reason else {}), f"{position}{_OVER}")


def broken_off(position: Position, detail: str, *, wire: Wire = event) -> bytes:
    """The events that end a stream whose output will never be complete, and say why."""
    return wire("error", text_of({"detail": detail}), str(position)) + done(position, "error", wire=wire)


def is_over(event_id: str) -> bool:
    """Whether this is the id of a stream's last event, so that a client that has it needs no more."""
    return event_id.endswith(_OVER)


def pieces(output: Any, chunks: Chunks) -> Iterator[Any]:
    """The values that are events of their own in an output, or in what there is of it so far."""
    if output is None:
        return
    if isinstance(output, list) and (chunks or all(isinstance(item, str) for item in output)):
        yield from output
    else:
        yield output


def text_of(value: Any) -> str:
    """How a value stands in an event: a text as it is, all else as JSON."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    # Half characters have no bytes in UTF-8.
    return text.encode("utf-8", "replace").decode()
