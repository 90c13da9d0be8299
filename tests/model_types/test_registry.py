"""The registry: built-in types, types of installed packages, and how light it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from model_types import registry
from model_types.base import VersionSpec

REPOSITORY = Path(__file__).parents[2]

PLUGIN = """
from pydantic import BaseModel
from model_types.base import ModelType, TypeInfo

class Input(BaseModel):
    number: int

class Doubling(ModelType):
    def load(self, version, device):
        self.spec = version
    def predict(self, batch):
        return [2 * item["number"] for item in batch]

INFO = TypeInfo(
    name="doubling", description="Doubles.", Input=Input, Output=int, default_engine="plain",
    engines={"plain": "doubling:Doubling", "absent": "a_library_that_is_not_there:Engine"},
    aliases=("twice",),
)
CLASH = TypeInfo(
    name="another", description="", Input=Input, Output=int, engines={}, default_engine="",
    aliases=("echo",),
)
"""


def install(site: Path, target: str) -> None:
    """Put a package with an entry point into a folder, as pip would."""
    (site / "doubling.py").write_text(PLUGIN)
    metadata = site / "doubling-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: doubling\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[{registry.ENTRY_POINT_GROUP}]\ndoubling = {target}\n")


def python(program: str, *paths: Path) -> subprocess.CompletedProcess[str]:
    """Run a program in a fresh interpreter that finds these folders."""
    search_path = os.pathsep.join(map(str, (REPOSITORY, *paths)))
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env={**os.environ, "PYTHONPATH": search_path},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_built_in_types_are_there_once_each() -> None:
    assert registry.names()[:2] == ("echo", "text-generation")
    assert len(set(registry.names())) == len(registry.all())
    assert registry.get("echo").name == "echo"


def test_an_unknown_type_is_told_what_there_is() -> None:
    with pytest.raises(registry.UnknownModelType, match=r"'ecko'.*echo, text-generation"):
        registry.get("ecko")


def test_an_unknown_engine_is_told_what_there_is() -> None:
    spec = VersionSpec(id="1", model="a/b", model_type="text-generation", engine="abacus", path="")
    with pytest.raises(registry.UnknownEngine, match=r"text-generation has no engine 'abacus'.*transformers"):
        registry.engine(spec)


@pytest.mark.slow
def test_the_registry_imports_no_heavy_library() -> None:
    program = (
        "import json, sys\n"
        "from model_types import registry\n"
        "schemas = [info.input_schema() for info in registry.all()]\n"
        "print(json.dumps([name for name in ('torch', 'transformers', 'numpy') if name in sys.modules]))\n"
    )
    finished = python(program)
    assert json.loads(finished.stdout) == [], finished.stderr


@pytest.mark.slow
def test_a_package_may_bring_its_own_type(tmp_path: Path) -> None:
    install(tmp_path, "doubling:INFO")
    program = (
        "from model_types import registry\n"
        "from model_types.base import VersionSpec\n"
        "spec = VersionSpec(id='1', model='a/b', model_type='twice', engine='plain', path='')\n"
        "engine = registry.engine(spec)\n"
        "engine.load(spec, 'cpu')\n"
        "print(registry.names()[-1], engine.predict([{'number': 21}]))\n"
    )
    finished = python(program, tmp_path)
    assert finished.stdout == "doubling [42]\n", finished.stderr


@pytest.mark.slow
def test_an_engine_whose_library_is_missing_is_unavailable(tmp_path: Path) -> None:
    install(tmp_path, "doubling:INFO")
    program = (
        "from model_types import registry\n"
        "from model_types.base import VersionSpec\n"
        "registry.engine(VersionSpec(id='1', model='a/b', model_type='doubling', engine='absent', path=''))\n"
    )
    finished = python(program, tmp_path)
    last_line = finished.stderr.splitlines()[-1]
    assert last_line.startswith("model_types.errors.ModelUnavailable: the engine 'absent' of doubling")
    assert "a_library_that_is_not_there" in last_line


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "complaint"),
    [
        ("doubling:Doubling", "the entry point 'doubling' (doubling:Doubling) is not a TypeInfo"),
        ("doubling:CLASH", "two model types are called 'echo'"),
    ],
)
def test_a_package_that_brings_no_usable_type_is_named(tmp_path: Path, target: str, complaint: str) -> None:
    install(tmp_path, target)
    finished = python("from model_types import registry; registry.all()", tmp_path)
    assert finished.stderr.splitlines()[-1] == f"model_types.registry.InvalidModelType: {complaint}"
