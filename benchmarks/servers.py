"""What a benchmark runs on: a durable PostgreSQL and a Valkey of its own, and processes beside them."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
from psycopg.sql import SQL, Identifier

from cli.embedded import HOST
from cli.postgres import EmbeddedPostgres
from cli.processes import ProcessDied, Service
from cli.valkey import EmbeddedValkey

START_SECONDS = 60.0
_POLL_SECONDS = 0.05


class Servers:
    """The servers, and every process started on them; a context manager that ends them all."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._open = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as opening:
            self.postgres = opening.enter_context(EmbeddedPostgres(self.directory / "postgres"))
            self.valkey = opening.enter_context(EmbeddedValkey(self.directory / "valkey"))
            self._open = opening.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def fresh_database(self, name: str) -> str:
        """The URL of a new, empty database."""
        with psycopg.connect(self.postgres.database_url("postgres"), autocommit=True) as connection:
            connection.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
        return self.postgres.database_url(name)

    def log(self, name: str) -> Path:
        """The file that a process writes to."""
        return self.directory / f"{name}.log"

    def start(self, service: Service) -> None:
        """Start a process, to be killed before the servers stop."""
        self._open.callback(service.kill)
        service.start()


def wait_for_port(service: Service, port: int) -> None:
    """Return when the process listens there. Raises `ProcessDied`, `TimeoutError`."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if service.pid is None:
            raise ProcessDied(service.name, service.status, service.log)
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) == 0:
                return
        time.sleep(_POLL_SECONDS)
    raise TimeoutError(f"The {service.name} does not listen on port {port} after {START_SECONDS:.0f} s.")
