"""`augury admin` gives an operator who has the database the administrator's rights."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cli.client import Client, RequestRefused
from tests.stack import Stack


def run(directory: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).parent.parent.parent
    return subprocess.run(
        [sys.executable, "-m", "cli", "admin"],
        cwd=directory,
        env={"PYTHONPATH": str(root), **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


def secrets_in(output: str) -> dict[str, str]:
    """What was printed, by its label."""
    return dict(line.rsplit(maxsplit=1) for line in output.splitlines())


@pytest.mark.slow
def test_an_operator_becomes_administrator_and_takes_over_again(
    stack: Stack, database_url: str, tmp_path: Path
) -> None:
    stack.start(workers=0)
    first = secrets_in(run(tmp_path, DATABASE_URL=database_url).stdout)
    with Client(stack.url, first["API token"]) as client:
        assert client.me()["role"] == "admin"
        assert client.log_in(first["User"], first["Password"])
    second = secrets_in(run(tmp_path, DATABASE_URL=database_url).stdout)
    with Client(stack.url, second["API token"]) as client:
        assert client.me()["username"] == "admin"
        with pytest.raises(RequestRefused):
            client.log_in(first["User"], first["Password"])


@pytest.mark.slow
def test_without_a_database_there_is_one_clear_sentence(tmp_path: Path) -> None:
    nothing = run(tmp_path)
    assert (nothing.returncode, nothing.stdout) == (1, "")
    assert nothing.stderr == "Error: DATABASE_URL must say which PostgreSQL to use.\n"
    away = run(tmp_path, DATABASE_URL="postgresql://nobody@127.0.0.1:1/none")
    assert away.returncode == 1
    assert away.stderr.startswith("Error: The database cannot be used: ")
