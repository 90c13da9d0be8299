"""The command lines of Augury's own processes, the same here as in Docker Compose."""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from cli.processes import Service


def gateway(environment: Mapping[str, str], log: Path) -> Service:
    """The HTTP gateway; API_HOST and API_PORT say where it listens."""
    return Service("gateway", [sys.executable, "-m", "api"], environment, log)


def worker(
    environment: Mapping[str, str], log: Path, *, pools: Sequence[str], lanes: int, name: str = "worker"
) -> Service:
    """A worker for these pools. It stops warm first, giving back what it has not started, then cold."""
    command = [sys.executable, "-m", "celery", "-A", "workers.app", "worker"]
    command += ["-Q", ",".join(pools), "-c", str(lanes), "-n", f"{name}@%h"]
    return Service(
        name,
        command,
        environment,
        log,
        stop_signals=((signal.SIGTERM, 15.0), (signal.SIGQUIT, 3.0)),
        death_signal=signal.SIGQUIT,
    )


def steward(environment: Mapping[str, str], log: Path) -> Service:
    """The process that looks after deadlines, dead leases, lost bells and webhooks."""
    return Service("steward", [sys.executable, "-m", "workers.steward"], environment, log)
