"""Starts child processes that do not outlive us, each in its own session, its output in a file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

_TETHER: Final = Path(__file__).with_name("tether.py")


def tethered(
    command: Sequence[str | Path], *, death_signal: int = 0, identity: str = "self"
) -> list[str | Path]:
    """The command line that becomes `command` by way of `cli.tether`."""
    tether: list[str | Path] = [sys.executable, "-I", "-S", _TETHER]
    return [*tether, str(os.getpid()), str(int(death_signal)), identity, *command]


def spawn(
    command: Sequence[str | Path],
    *,
    log: Path,
    death_signal: signal.Signals,
    identity: str = "self",
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> subprocess.Popen[bytes]:
    """Start `command`; its pid is the returned process's, its output is appended to `log`.

    On Linux the kernel sends it `death_signal` when we die without stopping it. That follows the life of the
    thread that spawned, so it is asked for on the main thread only. A session of its own keeps a terminal's
    Ctrl-C away: children are stopped by us, in our order.
    """
    on_main_thread = threading.current_thread() is threading.main_thread()
    with log.open("ab") as output:
        return subprocess.Popen(
            tethered(command, death_signal=death_signal if on_main_thread else 0, identity=identity),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=None if environment is None else dict(environment),
            cwd=directory,
            start_new_session=True,
        )


def last_lines(log: Path, count: int = 15) -> str:
    """The end of a log, for a message about why its process died."""
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 16_384))
        return "\n".join(file.read().decode(errors="replace").splitlines()[-count:])
