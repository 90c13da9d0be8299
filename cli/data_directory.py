"""The data directory of `augury up`: one run at a time, its secrets, and what it tells the other commands."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, Self

import psutil

from cli.errors import Fault

DEFAULT_PATH = Path(".augury")
_CLOCK_TOLERANCE_SECONDS = 1.0


class DataDirectoryInUse(Fault):
    """Another run uses this data directory."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """How to reach the server as its first administrator."""

    url: str
    username: str
    password: str
    api_token: str


@dataclass(frozen=True, slots=True)
class Run:
    """The run that has this data directory: its supervisor, where it listens, and how far it is."""

    pid: int
    created_at: float
    url: str
    state: Literal["starting", "ready"]

    @classmethod
    def of_this_process(cls, url: str, state: Literal["starting", "ready"]) -> Self:
        return cls(os.getpid(), psutil.Process().create_time(), url, state)

    def is_alive(self) -> bool:
        """Whether its supervisor lives, and is not a stranger that was given the same pid."""
        try:
            process = psutil.Process(self.pid)
            is_same = abs(process.create_time() - self.created_at) < _CLOCK_TOLERANCE_SECONDS
            return is_same and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False


class DataDirectory:
    """Paths and small files of one data directory. Creates nothing until it is locked."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()

    @property
    def postgres(self) -> Path:
        return self.path / "postgres"

    @property
    def valkey(self) -> Path:
        return self.path / "valkey"

    @property
    def models(self) -> Path:
        return self.path / "models"

    @property
    def blobs(self) -> Path:
        return self.path / "blobs"

    def log(self, name: str) -> Path:
        """Where a process writes what it has to say."""
        return self.path / "logs" / f"{name}.log"

    def create(self) -> None:
        """Create the folders, for nobody but ourselves."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.log("up").parent.mkdir(exist_ok=True)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Have the directory to ourselves; the kernel gives it free however we end.

        Raises DataDirectoryInUse.
        """
        self.create()
        with (self.path / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise DataDirectoryInUse(self.who_has_it()) from None
            try:
                yield
            finally:
                (self.path / "run.json").unlink(missing_ok=True)

    def who_has_it(self) -> str:
        """A sentence on the run that has this directory, and what to do about it."""
        run = self.run()
        who = f"pid {run.pid}, {run.url}" if run else "which is just starting or stopping"
        return (
            f"{self.path} is in use by another run ({who}): "
            f"stop it with `augury down --data-dir {self.path}`, or choose another --data-dir."
        )

    def run(self) -> Run | None:
        """The living run that has this directory."""
        try:
            run = Run(**json.loads((self.path / "run.json").read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None
        return run if run.is_alive() else None

    def announce(self, run: Run) -> None:
        """Tell the other commands about this run."""
        write_private(self.path / "run.json", json.dumps(asdict(run)))

    def wait_for_end(self, run: Run, timeout_seconds: float) -> bool:
        """Whether that run has ended within the time."""
        deadline = time.monotonic() + timeout_seconds
        while run.is_alive():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    def secret(self, name: str) -> str:
        """A random secret of 48 bytes, made when it is first asked for and kept in a private file."""
        path = self.path / name
        with suppress(FileNotFoundError):
            if kept := path.read_text().strip():
                return kept
        value = secrets.token_urlsafe(48)
        write_private(path, value)
        return value

    def credentials(self) -> Credentials | None:
        """The first administrator's, when there are any that can be read."""
        try:
            return Credentials(**json.loads((self.path / "credentials.json").read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def keep(self, credentials: Credentials) -> None:
        write_private(self.path / "credentials.json", json.dumps(asdict(credentials), indent=2) + "\n")


def write_private(path: Path, text: str) -> None:
    """Replace a file that only its owner may read; it holds the old text or the new one, never half."""
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
