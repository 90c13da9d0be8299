"""Child processes under supervision: what dies is started again, and all stop in the order we choose."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

import psutil

from cli.errors import Fault
from cli.spawn import last_lines, spawn

#: In the environment of every process below a supervisor: the data directory that it belongs to.
SUPERVISED_BY: Final = "AUGURY_SUPERVISED_BY"
FIRST_DELAY_SECONDS = 0.5
LONGEST_DELAY_SECONDS = 30.0
#: After so long a life a death counts as the first again.
STEADY_SECONDS = 60.0
_POLL_SECONDS = 0.1


class ProcessDied(Fault):
    """A process ended while the whole was still starting."""

    def __init__(self, name: str, status: int | None, log: Path) -> None:
        super().__init__(
            f"The {name} ended with status {status} while starting; the end of {log}:\n{last_lines(log)}"
        )


class NotReadyInTime(Fault):
    """The whole did not become ready in time, although every process lives."""


class Supervised(Protocol):
    """What a supervisor looks after: one of our own processes, or an embedded server."""

    @property
    def name(self) -> str: ...
    @property
    def pid(self) -> int | None: ...
    @property
    def log(self) -> Path: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...


@dataclass
class Service:
    """One of our own long-lived processes.

    `stop_signals` are tried in turn, each for so many seconds, before its whole session is killed.
    `death_signal` is what the kernel sends it when its supervisor is killed.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    stop_signals: tuple[tuple[signal.Signals, float], ...] = ((signal.SIGTERM, 15.0),)
    death_signal: signal.Signals = signal.SIGTERM
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)

    @property
    def pid(self) -> int | None:
        """The process id, or None when it does not run."""
        return self._process.pid if self._process and self._process.poll() is None else None

    @property
    def status(self) -> int | None:
        """What the last process ended with; None while it runs or before it started."""
        return self._process.poll() if self._process else None

    def start(self) -> None:
        """Start it, unless it runs. What a dead predecessor left behind in its session is killed first."""
        if self.pid is not None:
            return
        self._kill_session()
        self._process = spawn(
            self.command, log=self.log, death_signal=self.death_signal, environment=self.environment
        )

    def stop(self) -> None:
        """Ask it to stop, firmly in the end; returns when neither it nor its children run any more."""
        for number, seconds in self.stop_signals:
            if self._process is None or self.pid is None:
                break
            self._process.send_signal(number)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)
        self.kill()

    def kill(self) -> None:
        """Kill it and its children at once."""
        self._kill_session()
        if self._process:
            self._process.wait()

    def _kill_session(self) -> None:
        if self._process is None:
            return
        # The id of a process that has been waited for may be another's by now, unless its session lives on.
        if self._process.returncode is None or not psutil.pid_exists(self._process.pid):
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)


class _Life:
    """How one supervised process has fared, and when it may be started again."""

    def __init__(self, process: Supervised) -> None:
        self.process = process
        self.started_at = time.monotonic()
        self.delay_seconds = FIRST_DELAY_SECONDS
        self.start_again_at: float | None = None

    def note_death(self, now: float) -> float:
        """Note that it has died; return the seconds until it is started again."""
        if now - self.started_at > STEADY_SECONDS:
            self.delay_seconds = FIRST_DELAY_SECONDS
        delay, self.delay_seconds = self.delay_seconds, min(self.delay_seconds * 2, LONGEST_DELAY_SECONDS)
        self.start_again_at = now + delay
        return delay

    def start_again(self, now: float) -> None:
        self.started_at, self.start_again_at = now, None
        self.process.start()


class Supervisor:
    """Starts processes, keeps them alive, and stops them in the reverse order of their start."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._lives: list[_Life] = []

    @property
    def processes(self) -> list[Supervised]:
        """Everything started so far, in order."""
        return [life.process for life in self._lives]

    def start(self, process: Supervised) -> None:
        """Start it and look after it from now on."""
        self._lives.append(_Life(process))
        process.start()

    def wait_until(self, is_ready: Callable[[], bool], timeout_seconds: float, what: str) -> None:
        """Wait for the whole to be ready. Raises ProcessDied when a part ends first, NotReadyInTime."""
        deadline = time.monotonic() + timeout_seconds
        while not is_ready():
            for process in self.processes:
                if process.pid is None:
                    raise ProcessDied(process.name, getattr(process, "status", None), process.log)
            if time.monotonic() > deadline:
                raise NotReadyInTime(f"{what} was not ready after {timeout_seconds:.0f} s.")
            time.sleep(_POLL_SECONDS)

    def keep_alive(self, now: float) -> None:
        """One look at every process: those that have died are started again, less and less eagerly."""
        for life in self._lives:
            if life.start_again_at is None:
                if life.process.pid is None:
                    delay = life.note_death(now)
                    self._say(f"The {life.process.name} has died; starting it again in {delay:.1f} s.")
            elif now >= life.start_again_at:
                self._start_again(life, now)

    def _start_again(self, life: _Life, now: float) -> None:
        try:
            life.start_again(now)
        except (Fault, OSError) as error:
            delay = life.note_death(now)
            self._say(f"The {life.process.name} did not start; trying again in {delay:.1f} s. {error}")
        else:
            self._say(f"The {life.process.name} runs again (pid {life.process.pid}).")

    def stop(self) -> None:
        """Stop everything, the last started first."""
        while self._lives:
            self._lives.pop().process.stop()


def stop_leftovers(data_directory: Path, timeout_seconds: float = 10) -> list[int]:
    """Stop what a killed supervisor of this data directory left running; return the process ids."""
    others = (process for process in psutil.process_iter() if process.pid != os.getpid())
    leftovers = [process for process in others if _is_of(process, data_directory)]
    for number in (signal.SIGTERM, signal.SIGKILL):
        alive = [process for process in leftovers if process.is_running()]
        for process in alive:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)
        psutil.wait_procs(alive, timeout=timeout_seconds)
    return [process.pid for process in leftovers]


def _is_of(process: psutil.Process, data_directory: Path) -> bool:
    """Whether it was started below a supervisor of this data directory: its environment says so."""
    try:
        return process.environ().get(SUPERVISED_BY) == str(data_directory)
    except (psutil.Error, OSError):
        return False
