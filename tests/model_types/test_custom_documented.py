"""docs/custom-models.md does what it says: its files are written, its commands run, its answers come."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.stack import Stack

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", (ROOT / "docs/custom-models.md").read_text(), re.M | re.S)


def blocks(language: str, beginning: str = "") -> list[str]:
    return [text for kind, text in BLOCKS if kind == language and text.startswith(beginning)]


def write_files(folder: Path) -> None:
    """The blocks that begin with a file's name."""
    for _, text in BLOCKS:
        if name := re.match(r"# (\S+\.(?:py|toml))\n", text):
            file = folder / name[1]
            file.parent.mkdir(exist_ok=True)
            file.write_text(text)


def install(folder: Path) -> None:
    """What pip leaves of a package beside its modules, so that its entry points are found."""
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    metadata = folder / "similarity-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: similarity\nVersion: 1.0\n")
    ((group, points),) = project["entry-points"].items()
    lines = [f"{name} = {target}\n" for name, target in points.items()]
    (metadata / "entry_points.txt").write_text(f"[{group}]\n{''.join(lines)}")


def augury(stack: Stack, folder: Path, *arguments: str) -> str:
    """What the command says."""
    environment = {**stack.environment, "AUGURY_URL": stack.url, "AUGURY_TOKEN": stack.token()}
    finished = subprocess.run(
        [sys.executable, "-m", "cli", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def ask(stack: Stack, model: str, **input: Any) -> dict[str, Any]:
    with stack.client() as client:
        return client.predict(model, input, wait_seconds=60)


def test_both_ways_of_adding_a_model(tmp_path: Path, make_stack: Callable[..., Stack]) -> None:
    write_files(tmp_path)
    install(tmp_path)
    stack = make_stack(
        environment={
            "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)]),
            "TRUSTED_MODELS": str(tmp_path / "keywords.py"),
        }
    )
    stack.start(pools=("custom", "text-similarity"))
    for command in blocks("sh", "augury models add"):
        assert "is there: version" in augury(stack, tmp_path, *shlex.split(command)[1:])

    (curl,) = blocks("sh", "curl")
    body = json.loads(re.search(r"-d '(.*)'", curl)[1])  # type: ignore[index]  # it is there
    prediction = ask(stack, body["model"], **body["input"])
    assert prediction["output"] == json.loads(blocks("json")[0])

    assert ask(stack, "admin/similar", first="abcd", second="bcde")["output"] == 0.75
