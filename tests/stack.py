"""Gateway, workers and steward as real processes, for tests that kill them."""

from __future__ import annotations

import os
import secrets
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

from cli import services
from cli.client import Client
from cli.embedded import free_port
from cli.processes import Service
from cli.spawn import last_lines
from db.settings import DatabaseSettings

READY_SECONDS = 60.0
_POLL_SECONDS = 0.05


def wait_until(
    condition: Callable[[], bool], timeout_seconds: float = READY_SECONDS, what: str = "the condition"
) -> None:
    """Poll until it holds; fail the test when it does not in time."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come true in {timeout_seconds} s"
        time.sleep(_POLL_SECONDS)


class Stack:
    """Augury at work on given servers, without a supervisor: what a test kills stays dead.

    Processes are called `gateway`, `steward`, `worker1`, `worker2`, …; `environment` overrides settings.
    """

    def __init__(
        self,
        directory: Path,
        *,
        database_url: str,
        redis_url: str,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.url = f"http://127.0.0.1:{(port := free_port())}"
        self.environment = os.environ | {
            "API_HOST": "127.0.0.1",
            "API_PORT": str(port),
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "SECRET_KEY": secrets.token_urlsafe(48),
            "BLOB_STORE": str(directory / "blobs"),
            "MODEL_CACHE_DIR": str(directory / "models"),
            "OUTBOUND_ALLOW_CIDRS": "127.0.0.0/8,::1/128",
            "OMP_NUM_THREADS": "1",
            "PYTHONUNBUFFERED": "1",
            **(environment or {}),
        }
        self._services: dict[str, Service] = {}
        self._token: str | None = None

    def start(
        self, *, workers: int = 1, lanes: int = 1, pools: Sequence[str] = ("echo",), steward: bool = True
    ) -> None:
        """Start everything and wait until `/ready` answers 200."""
        self.start_gateway()
        if steward:
            self.start_steward()
        for number in range(1, workers + 1):
            self.start_worker(f"worker{number}", lanes=lanes, pools=pools)
        self.wait_until_ready()

    def start_gateway(self) -> None:
        self._start(services.gateway(self.environment, self.log("gateway")))

    def start_steward(self) -> None:
        self._start(services.steward(self.environment, self.log("steward")))

    def start_worker(
        self, name: str = "worker1", *, lanes: int = 1, pools: Sequence[str] = ("echo",)
    ) -> None:
        self._start(services.worker(self.environment, self.log(name), pools=pools, lanes=lanes, name=name))

    def _start(self, service: Service) -> None:
        self._services[service.name] = service
        service.start()

    def start_again(self, name: str) -> None:
        """Start a process that was killed or stopped, as it was."""
        self._services[name].start()

    def wait_until_ready(self, timeout_seconds: float = READY_SECONDS) -> None:
        """Wait for `/ready`; fail with the log of a process that has died, if one has."""
        with Client(self.url) as client:
            wait_until(lambda: self._all_alive() and client.is_ready(), timeout_seconds, "readiness")

    def _all_alive(self) -> bool:
        for service in self._services.values():
            assert service.pid is not None, f"{service.name} has died:\n{last_lines(service.log, 40)}"
        return True

    def log(self, name: str) -> Path:
        """The file that a process writes to."""
        return self.directory / f"{name}.log"

    def pid(self, name: str) -> int:
        """A process's id. It must run."""
        pid = self._services[name].pid
        assert pid is not None, f"{name} does not run"
        return pid

    def lanes(self, name: str = "worker1") -> list[psutil.Process]:
        """A worker's child processes, one per lane."""
        return psutil.Process(self.pid(name)).children()

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to one process, not to its children."""
        os.kill(self.pid(name), number)

    def kill(self, name: str) -> None:
        """SIGKILL a process and its children at once, as a power cut would."""
        self._services[name].kill()

    def kill_all(self) -> None:
        """End whatever still runs: a test that has seen what it wanted need not wait for goodbyes."""
        for service in self._services.values():
            service.kill()

    def stop(self, name: str) -> None:
        """Stop one process as an operator would."""
        self._services[name].stop()

    def token(self) -> str:
        """An administrator's API token; the account is made at the first call."""
        from cli.administrator import renew  # the gateway's code: not for tests that need none of it

        if self._token is None:
            database = DatabaseSettings(database_url=self.environment["DATABASE_URL"])
            self._token = renew(self.url, database, self.directory).api_token
        return self._token

    def client(self) -> Client:
        """A client with an administrator's rights. Close it, or use it in a `with`."""
        return Client(self.url, self.token())

    def add_echo(self, name: str = "echo") -> str:
        """Register an echo model; return its `owner/name`."""
        with self.client() as client:
            model = client.add_model(
                {"owner": "test", "name": name, "model_type": "echo", "model_path": "echo"}
            )
        return f"{model['owner']}/{model['name']}"
