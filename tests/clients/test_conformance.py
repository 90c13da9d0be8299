"""Every suite that is written for an official client, run by that client against one running server."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.clients import environments
from tests.clients.conftest import Server, node

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


def _suites(folder: str, ending: str) -> list[str]:
    return sorted(path.name for path in (environments.SUITES / folder).glob(f"test_*{ending}"))


def _pytest(folder: str, suite: str) -> list[str | Path]:
    """The client's own pytest, which knows nothing of the settings and fixtures of ours."""
    home = environments.SUITES / folder
    alone: list[str | Path] = ["-c", os.devnull, "--rootdir", home, "--confcutdir", home]
    quiet = ["-q", "--tb=short", "-p", "no:cacheprovider"]
    return [environments.python(folder), "-m", "pytest", *alone, *quiet, home / suite]


@pytest.mark.parametrize("suite", _suites("python1", ".py"))
def test_replicate_1_for_python(server: Server, suite: str) -> None:
    server.run(_pytest("python1", suite), server.url)


@pytest.mark.parametrize("suite", _suites("python2", ".py"))
def test_replicate_2_for_python(server: Server, suite: str) -> None:
    server.run(_pytest("python2", suite), f"{server.url}/v1")


@pytest.mark.parametrize("suite", _suites("node", ".mjs"))
def test_replicate_for_node(server: Server, node_directory: Path, suite: str) -> None:
    server.run(node(suite), f"{server.url}/v1", node_directory)
