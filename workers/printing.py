"""What models print: overheard on sys.stdout and sys.stderr, and kept as the logs of their predictions.

Python's own streams only: what native code or a child process writes to the file descriptors is not heard,
nor what threads print that a model starts. Log handlers of this process keep the streams that they have been
made with, so what they write is no model's.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TextIO, cast

# Of one prediction's logs so many characters are kept, the newest.
MAX_CHARACTERS = 1 << 18
CUT_LINE = "[earlier lines have been left out]\n"
_SLACK = MAX_CHARACTERS // 4

_RETURNS = re.compile(r"\r+")
_RETURNS_AT_LINE_START = re.compile(r"(?<=\n)\r+")

_listener: ContextVar[Callable[[str], None] | None] = ContextVar("listener", default=None)


@contextmanager
def overhear(listener: Callable[[str], None]) -> Iterator[None]:
    """Have the listener told what this thread prints meanwhile, where an `Overhearing` stands."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


class Overhearing:
    """Stands in for sys.stdout and sys.stderr until it is closed."""

    def __init__(self) -> None:
        self._streams = {name: getattr(sys, name) for name in ("stdout", "stderr")}
        self._ears = {name: _Ear(stream) for name, stream in self._streams.items()}
        for name, ear in self._ears.items():
            setattr(sys, name, ear)

    def close(self) -> None:
        """Put back what was there, unless somebody else stands there now."""
        for name, ear in self._ears.items():
            if getattr(sys, name) is ear:
                setattr(sys, name, self._streams[name])


class _Ear:
    """A text stream that passes everything on to another, and tells the thread's listener what is written."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        if (listener := _listener.get()) is not None:
            listener(text)
        return self._stream.write(text)

    def writelines(self, lines: list[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> object:
        return cast(object, getattr(self._stream, name))


class Printed:
    """One prediction's logs: the lines of a progress bar, each of which overwrites the last, are kept all."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._kept = 0
        self._is_cut = False
        self._was_return = False
        self.characters = 0

    def add(self, text: str) -> str:
        """Add what was printed. Returns it as it stands in the logs: with new lines in place of returns."""
        text = self._with_new_lines(text) if text else ""
        if text:
            self._parts.append(text)
            self._kept += len(text)
            self.characters += len(text)
            if self._kept > MAX_CHARACTERS + _SLACK:
                self._cut()
        return text

    def __str__(self) -> str:
        if self._kept > MAX_CHARACTERS:
            self._cut()
        return (CUT_LINE if self._is_cut else "") + "".join(self._parts)

    def _with_new_lines(self, text: str) -> str:
        was_return, self._was_return = self._was_return, text.endswith("\r")
        if was_return:
            text = text.removeprefix("\n")
        # PostgreSQL's text knows no NUL and no half characters.
        text = text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
        text = _RETURNS_AT_LINE_START.sub("", text.replace("\r\n", "\n"))
        if not self._parts or self._parts[-1].endswith("\n"):
            text = text.lstrip("\r")
        return _RETURNS.sub("\n", text)

    def _cut(self) -> None:
        text = "".join(self._parts)[-MAX_CHARACTERS:]
        _, _, whole_lines = text.partition("\n")
        self._parts = [whole_lines or text]
        self._kept = len(self._parts[0])
        self._is_cut = True
