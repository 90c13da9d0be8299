"""Augury as it runs in production: the gateway, a worker and the steward, each by its own command."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import psycopg

from benchmarks.load import request
from benchmarks.servers import START_SECONDS, Servers, wait_for_port
from cli import administrator, services
from cli.client import Client
from cli.embedded import HOST, free_port
from cli.migrate import migrate
from cli.processes import ProcessDied, Service
from db.settings import DatabaseSettings

DRAIN_SECONDS = 300.0
WAIT_SECONDS = 60
_POLL_SECONDS = 0.02
# High enough never to refuse: what a limit costs is measured, and not the limit.
_OUT_OF_REACH = {
    "RATE_LIMIT_CREATE": "100000000/minute",
    "RATE_LIMIT_READ": "100000000/minute",
    "BACKLOG_PER_POOL": "100000000",
    "BACKLOG_PER_USER": "100000000",
}


class NotDrained(RuntimeError):
    """Predictions still wait after a time in which all should have ended."""


class WrongResult(RuntimeError):
    """Not every prediction has succeeded, so the figures mean nothing."""


class Platform:
    """Augury on a database of its own, with an administrator's token; its processes start one by one."""

    def __init__(
        self, servers: Servers, name: str, *, keyspace: int = 0, environment: Mapping[str, str] | None = None
    ) -> None:
        """`keyspace` is the logical database of Valkey that its bells and counters live in."""
        self.servers = servers
        self.name = name
        self.port = free_port()
        self.database_url = servers.fresh_database(name)
        migrate(self.database_url)
        url = f"http://{HOST}:{self.port}"
        database = DatabaseSettings(database_url=self.database_url)
        self.token = administrator.renew(url, database, servers.directory).api_token
        self.client = Client(url, self.token)
        self._environment = {
            **os.environ,
            **_OUT_OF_REACH,
            "API_HOST": HOST,
            "API_PORT": str(self.port),
            "DATABASE_URL": self.database_url,
            "REDIS_URL": servers.valkey.database_url(keyspace),
            "BLOB_STORE": str(servers.directory / f"{name}-blobs"),
            "SECRET_KEY": secrets.token_urlsafe(48),
            "LOG_LEVEL": "WARNING",
            "OMP_NUM_THREADS": "1",
            **(environment or {}),
        }

    def start_gateway(self) -> Service:
        """Start the gateway; returns when it listens."""
        gateway = services.gateway(self._environment, self.servers.log(f"{self.name}-gateway"))
        self.servers.start(gateway)
        wait_for_port(gateway, self.port)
        return gateway

    def start_workers(self, *pools: str, lanes: int = 1) -> None:
        """Start a worker of these pools and the steward; returns when the gateway finds all ready.

        A pool that no model needs counts as ready, so register the model first.
        """
        worker = services.worker(
            self._environment, self.servers.log(f"{self.name}-worker"), pools=pools, lanes=lanes
        )
        steward = services.steward(self._environment, self.servers.log(f"{self.name}-steward"))
        for service in (worker, steward):
            self.servers.start(service)
        deadline = time.monotonic() + START_SECONDS
        while not self.client.is_ready():
            for service in (worker, steward):
                if service.pid is None:
                    raise ProcessDied(service.name, service.status, service.log)
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.name} was not ready after {START_SECONDS:.0f} s.")
            time.sleep(_POLL_SECONDS)

    def add_model(
        self, name: str, model_type: str, path: str, *, options: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Register a model; returns it as the API shows it."""
        return self.client.add_model(
            {"name": name, "model_type": model_type, "model_path": path, "options": dict(options or {})}
        )

    def submission(self, model_id: str, value: Mapping[str, Any], *, wait: bool = False) -> bytes:
        """The bytes of a request for one prediction; with `wait` the answer comes when it has ended."""
        headers = {"Authorization": f"Bearer {self.token}"}
        if wait:
            headers["Prefer"] = f"wait={WAIT_SECONDS}"
        body = msgspec.json.encode({"model_id": model_id, "input": value})
        return request("POST", "/v1/predictions", headers=headers, body=body)

    def status_request(self, prediction_id: str) -> bytes:
        """The bytes of a request for one prediction's state."""
        headers = {"Authorization": f"Bearer {self.token}"}
        return request("GET", f"/v1/predictions/{prediction_id}", headers=headers)

    def connect(self) -> psycopg.Connection[Any]:
        """A connection to its database, in autocommit mode."""
        return psycopg.connect(self.database_url, autocommit=True)

    def empty_queue(self) -> None:
        """Forget what waits, and tidy up, so that one round leaves nothing behind for the next."""
        with self.connect() as connection:
            connection.execute("TRUNCATE queue, predictions")
            connection.execute("VACUUM ANALYZE queue, predictions, owner_clocks, pool_clocks")

    def wait_until_drained(self, connection: psycopg.Connection[Any]) -> None:
        """Return when nothing waits or runs any more. Raises `NotDrained`."""
        deadline = time.monotonic() + DRAIN_SECONDS
        while connection.execute("SELECT FROM queue LIMIT 1").rowcount:
            if time.monotonic() > deadline:
                raise NotDrained(f"{self.name}: predictions still wait after {DRAIN_SECONDS:.0f} s")
            time.sleep(_POLL_SECONDS)

    def require_all_succeeded(self, connection: psycopg.Connection[Any], count: int) -> None:
        """Raises `WrongResult` unless there are exactly so many predictions, and all have succeeded."""
        rows = connection.execute("SELECT status, count(*) FROM predictions GROUP BY status").fetchall()
        if rows != [("succeeded", count)]:
            raise WrongResult(f"{self.name}: expected {count} succeeded predictions, found {dict(rows)}")


def outputs(bodies: Sequence[bytes]) -> list[Any]:
    """The outputs of finished predictions, from the bodies of answers. Raises `WrongResult`."""
    predictions = [msgspec.json.decode(body) for body in bodies]
    if unfinished := [one for one in predictions if one["status"] != "succeeded"]:
        raise WrongResult(f"{len(unfinished)} predictions did not succeed; the first: {unfinished[0]}")
    return [one["output"] for one in predictions]
