"""Reads the Compose files as the engine would, so that their commands can be run without one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent.parent
_VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?::(?P<kind>[-?])(?P<rest>[^}]*))?\}")


class MissingVariable(Exception):
    """A variable that must be set is not."""


def load(name: str, variables: Mapping[str, str]) -> dict[str, Any]:
    """A Compose file with `${NAME}`, `${NAME:-default}` and `${NAME:?message}` filled in."""
    document = yaml.safe_load((ROOT / name).read_text())
    filled: dict[str, Any] = _fill(document, variables)
    return filled


def environment_of(service: Mapping[str, Any], variables: Mapping[str, str]) -> dict[str, str]:
    """What a container finds in its environment: a name without a value is passed on if it is set."""
    given = {
        name: variables.get(name) if value is None else value
        for name, value in service["environment"].items()
    }
    return {name: str(value) for name, value in given.items() if value is not None}


def _fill(value: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _fill(item, variables) for key, item in value.items()}
    if isinstance(value, list):
        return [_fill(item, variables) for item in value]
    if isinstance(value, str):
        return _VARIABLE.sub(lambda match: _value(match, variables), value)
    return value


def _value(match: re.Match[str], variables: Mapping[str, str]) -> str:
    value = variables.get(match["name"], "")
    if value or match["kind"] is None:
        return value
    if match["kind"] == "?":
        raise MissingVariable(match["name"])
    return match["rest"]
