"""`augury models`, as an operator types it, against a running server."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.main import main
from examples.demo_models import RECITAL
from tests.cli.fake_hub import COMMIT, FakeHub
from tests.stack import Stack

CATALOG = f"""
models:
  - {{name: acme/echo, type: echo, path: echo, files: [], ttl_seconds: 600, warm_up: [{{text: hi}}]}}
  - {{name: acme/reciter, type: text-generation, path: acme/recital, defaults: {{temperature: 0}}}}
  - {{name: acme/broken, type: text-generation, path: {RECITAL.parent}}}
"""


class Operator:
    """Types `augury models` commands for one server."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.environment = {
            "MODELS_FILE": str(folder / "models.yaml"),
            "MODEL_CACHE_DIR": str(folder / "cache"),
            "AUGURY_DATA_DIR": str(folder / "data"),
            **environment,
        }
        (folder / "models.yaml").write_text(CATALOG)

    def types(self, *words: str, fails: bool = False) -> str:
        """What the command says; it must succeed, or fail with a sentence."""
        result: Result = CliRunner().invoke(main, ["models", *words], env=self.environment)
        assert (result.exit_code == 1) is fails, result.output
        return result.output

    def adds(self, name: str, hub: FakeHub) -> str:
        """What `add` says. A process of its own, because the hub's library reads HF_ENDPOINT on import."""
        result = subprocess.run(
            [sys.executable, "-m", "cli", "models", "add", name],
            env=os.environ | self.environment | {"HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_TELEMETRY": "1"},
            capture_output=True,
            text=True,
            check=True,
        )
        return result.stdout

    def states(self) -> dict[str, tuple[str, str]]:
        """By model: its state, and the lanes that hold it."""
        rows = json.loads(self.types("list", "--json"))
        return {row["model"]: (row["state"], row["lanes"]) for row in rows}


@pytest.mark.slow
def test_models_of_a_catalog_are_registered_pulled_loaded_unloaded_and_removed(
    make_stack: Callable[..., Stack], tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    stack = make_stack(environment={"AUTO_DOWNLOAD_MODELS": "0", "MODEL_CACHE_DIR": str(cache)})
    stack.start(pools=("echo", "text-generation"))
    operator = Operator(tmp_path, {"AUGURY_URL": stack.url, "AUGURY_TOKEN": stack.token()})
    [lane] = stack.lanes()

    assert "3 of 3 models are as the catalog has them" in operator.types("sync", "acme/*")
    assert operator.states() == dict.fromkeys(
        ("acme/broken", "acme/reciter", "acme/echo"), ("not loaded", "-")
    )

    assert operator.types("load", "acme/echo") == "acme/echo is in the memory of 1 lane.\n"
    assert operator.states()["acme/echo"] == ("loaded", f"{socket.gethostname()}:0")
    assert operator.types("list").splitlines()[0].split() == [
        *("MODEL", "TYPE", "VERSION", "STATE", "LANES", "ABOUT")
    ]

    # What cannot be loaded says so for itself, and does no harm to its lane.
    refused = operator.types("load", "acme/reciter", fails=True)
    assert "acme/reciter is unavailable: acme/recital at main has not been downloaded" in refused
    assert "`augury models pull acme/reciter`" in refused
    assert "has no config.json" in operator.types("load", "acme/broken", fails=True)
    assert operator.states()["acme/broken"] == ("unavailable", "-")

    files = {file.name: file.read_bytes() for file in RECITAL.iterdir() if file.is_file()}
    with FakeHub("acme/recital", files).running() as hub:
        assert "acme/reciter is there: version" in operator.adds("acme/reciter", hub)
    assert "3 of 3 models" in operator.types("sync", "acme/*")
    operator.types("load", "acme/reciter")
    with stack.client() as client:
        assert client.model("acme/reciter")["latest_version"]["revision"] == COMMIT
        prediction = client.predict("acme/reciter", {"prompt": "Alice was"}, wait_seconds=30)
    assert "beginning to get very tired" in prediction["output"]

    assert operator.types("unload", "acme/echo") == "acme/echo is in no lane's memory.\n"
    assert operator.states()["acme/echo"] == ("not loaded", "-")
    assert "acme/reciter is deleted, and 1.7 MB on the disk are free" in operator.types(
        "rm", "acme/reciter", "--weights"
    )
    assert not list(cache.rglob("*.safetensors"))
    assert "acme/reciter" not in operator.states()
    with stack.client() as client:
        client.add_model({"owner": "acme", "name": "later"})
    assert operator.states()["acme/later"] == ("-", "-")
    assert operator.types("rm", "acme/later", "--weights") == "acme/later is deleted.\n"
    assert stack.lanes() == [lane]


def test_the_catalog_can_be_looked_at_without_a_server(tmp_path: Path) -> None:
    operator = Operator(tmp_path, {})
    printed = operator.types("list", "--catalog")
    assert printed.splitlines()[0].split() == ["MODEL", "TYPE", "HARDWARE", "ABOUT"]
    assert "openai/whisper-tiny" in printed
    assert "acme/reciter" in printed


def test_a_model_without_weights_of_its_own_cannot_be_pulled(tmp_path: Path) -> None:
    operator = Operator(tmp_path, {})
    assert operator.types("pull", "acme/echo", fails=True) == (
        "Error: The weights of acme/echo do not come from a hub.\n"
    )
