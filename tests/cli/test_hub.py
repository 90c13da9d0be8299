"""Downloading a model takes what is safe, pins the commit, and fails in one sentence."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.fake_hub import COMMIT, FakeHub

PROGRAM = """
import sys
from pathlib import Path
from cli.errors import Fault
from cli.hub import Source, download, pulled_commit
try:
    source, cache = Source.of(sys.argv[1]), Path(sys.argv[2])
    assert pulled_commit(source, cache) is None
    folder, commit = download(source, cache)
    pinned = Source.of(sys.argv[1], revision=commit)
    assert pulled_commit(source, cache) == pulled_commit(pinned, cache) == commit
    print(folder, commit)
except Fault as fault:
    sys.exit(fault.message)
"""
FILES = {
    "config.json": b"{}",
    "model.safetensors": b"weights" * 1000,
    "pytorch_model.bin": b"a pickle",
    "tokenizer.json": b"{}",
}


def download(endpoint: str, repository: str, cache: Path) -> subprocess.CompletedProcess[str]:
    """In a process of its own: the hub's library reads HF_ENDPOINT when it is imported."""
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, repository, str(cache)],
        env=os.environ
        | {"HF_ENDPOINT": endpoint, "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_ETAG_TIMEOUT": "2"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.slow
def test_a_download_takes_no_pickles_and_is_pinned_to_its_commit(tmp_path: Path) -> None:
    with FakeHub("acme/smol", FILES).running() as hub:
        result = download(hub.url, "acme/smol", tmp_path)
    assert result.returncode == 0, result.stderr
    folder, commit = result.stdout.split()
    assert commit == COMMIT
    assert (Path(folder) / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    assert sorted(path.name for path in Path(folder).iterdir()) == [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    ]
    assert "pytorch_model.bin" not in hub.downloaded


@pytest.mark.slow
def test_a_download_shows_its_progress(tmp_path: Path) -> None:
    with FakeHub("acme/smol", FILES).running() as hub:
        result = download(hub.url, "acme/smol", tmp_path)
    assert "100%" in result.stderr


@pytest.mark.slow
def test_one_file_of_a_repository_is_taken_when_it_is_named(tmp_path: Path) -> None:
    with FakeHub("acme/smol", FILES).running() as hub:
        result = download(hub.url, "acme/smol/pytorch_model.bin", tmp_path)
    assert result.returncode == 0, result.stderr
    assert hub.downloaded == ["pytorch_model.bin"]


@pytest.mark.slow
def test_a_file_that_cannot_be_had_is_named(tmp_path: Path) -> None:
    hub = FakeHub("acme/smol", FILES)
    hub.forbidden.add("model.safetensors")
    with hub.running():
        result = download(hub.url, "acme/smol", tmp_path)
    assert result.stderr.strip().splitlines()[-1] == (
        "acme/smol could not be downloaded: model.safetensors: the hub answers 403."
    )


@pytest.mark.slow
def test_an_unknown_repository_gets_one_clear_sentence(tmp_path: Path) -> None:
    with FakeHub("acme/smol", FILES).running() as hub:
        result = download(hub.url, "acme/none", tmp_path)
    assert result.stderr.strip() == (
        "acme/none could not be downloaded: there is no such repository, or HF_TOKEN does not open it."
    )


@pytest.mark.slow
def test_weights_that_are_only_pickles_are_refused(tmp_path: Path) -> None:
    files = {name: content for name, content in FILES.items() if name != "model.safetensors"}
    with FakeHub("acme/smol", files).running() as hub:
        result = download(hub.url, "acme/smol", tmp_path)
    assert result.stderr.strip().splitlines()[-1] == (
        "acme/smol has no safetensors weights, and Augury loads no pickles."
    )


@pytest.mark.slow
def test_a_hub_that_does_not_answer_gets_one_clear_sentence(tmp_path: Path) -> None:
    result = download("http://127.0.0.1:9", "acme/smol", tmp_path)
    assert result.returncode == 1
    assert result.stderr.strip().splitlines()[-1].startswith("acme/smol could not be downloaded: ")
    assert "Traceback" not in result.stderr
