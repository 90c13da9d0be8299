"""`augury up --detach`: the same run, in a process of its own that stays when the terminal goes."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence

from cli.data_directory import DataDirectory
from cli.errors import Fault
from cli.spawn import last_lines

#: Longer than any single step of a start may take, so that the run itself says what is wrong.
START_SECONDS = 600
_POLL_SECONDS = 0.05


class BackgroundRunFailed(Fault):
    """The run in the background ended, or was not ready in time."""


def start(data: DataDirectory, arguments: Sequence[str]) -> None:
    """Run `augury up` with these arguments in the background; return when it is ready.

    Raises BackgroundRunFailed.
    """
    data.create()
    log = data.log("up")
    log.write_bytes(b"")
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "cli", "up", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    deadline = time.monotonic() + START_SECONDS
    while not _is_ready(data, process.pid):
        if process.poll() is not None:
            raise BackgroundRunFailed(f"Augury did not start. {last_lines(log)}")
        if time.monotonic() > deadline:
            process.terminate()
            raise BackgroundRunFailed(f"Augury was not ready after {START_SECONDS} s; see {log}.")
        time.sleep(_POLL_SECONDS)


def _is_ready(data: DataDirectory, pid: int) -> bool:
    run = data.run()
    return run is not None and run.pid == pid and run.state == "ready"
