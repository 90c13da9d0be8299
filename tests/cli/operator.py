"""An operator who types `augury` commands."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from cli.client import Client
from cli.data_directory import DataDirectory
from cli.embedded import free_port
from cli.processes import SUPERVISED_BY

START_SECONDS = 120
_END_SECONDS = 10
_GIVEN = ("BLOB_STORE", "DATABASE_URL", "REDIS_URL", "REDIS_HOST", "SECRET_KEY", "AUGURY_URL", "AUGURY_TOKEN")


class Operator:
    """Types `augury` commands for one data directory, in an otherwise empty folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = DataDirectory(folder / "data")
        self.port = free_port()
        self.environment = {name: value for name, value in os.environ.items() if name not in _GIVEN}

    def type(self, *words: str, timeout_seconds: float = START_SECONDS) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "cli", *words, "--data-dir", str(self.data.path)],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            check=False,
        )

    def up(self, *options: str) -> subprocess.CompletedProcess[str]:
        result = self.type("up", "--detach", "--workers", "1", "--port", str(self.port), *options)
        assert result.returncode == 0, result.stdout + result.stderr
        return result

    def down(self) -> subprocess.CompletedProcess[str]:
        return self.type("down")

    def client(self) -> Client:
        credentials = self.data.credentials()
        assert credentials is not None
        return Client(credentials.url, credentials.api_token)

    def supervisor(self) -> psutil.Process:
        run = self.data.run()
        assert run is not None
        return psutil.Process(run.pid)

    def processes(self) -> list[psutil.Process]:
        """Everything that works for this data directory, the supervisor aside."""
        return [process for process in psutil.process_iter() if self._is_ours(process)]

    def end(self) -> None:
        """Kill whatever still runs, but let PostgreSQL end with its supervisor, and tidy up its memory."""
        if self.data.run() is not None:
            self.supervisor().kill()
        ours = self.processes()
        _kill(ours, spare="postgres")
        _kill(psutil.wait_procs(ours, timeout=_END_SECONDS)[1])

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            if process.environ().get(SUPERVISED_BY) == str(self.data.path):
                return process.status() != psutil.STATUS_ZOMBIE
            return Path(process.cwd()).is_relative_to(self.data.path)
        except (psutil.Error, OSError):
            return False


def _kill(processes: Iterable[psutil.Process], *, spare: str | None = None) -> None:
    """Kill these, but those of one name."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            if process.name() != spare:
                process.kill()


@contextmanager
def at_work_in(folder: Path) -> Iterator[Operator]:
    """An operator, whose processes are gone afterwards."""
    operator = Operator(folder)
    try:
        yield operator
    finally:
        operator.end()
