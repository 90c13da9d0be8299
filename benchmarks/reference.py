"""The base of a benchmark of models: the same model called directly, in a process with nothing around it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Generic, Self, TypeVar

import msgspec

from benchmarks.load import LoadFailed

Answer = TypeVar("Answer")


class Reference(Generic[Answer]):
    """A module of ours with one thread, while this is open: tasks in, answers out, lines of JSON."""

    def __init__(self, module: str, answer: type[Answer], *arguments: Path) -> None:
        self._answer = answer
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"},
        )

    def run(self, task: msgspec.Struct) -> Answer:
        """What the module answers. Raises `LoadFailed` when the process has died."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(msgspec.json.encode(task) + b"\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise LoadFailed(f"the reference's process ended with status {self._process.wait()}")
        return msgspec.json.decode(line, type=self._answer)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait()
