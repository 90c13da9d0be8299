"""Custom models: a Python class of the user's own, with an input and an output of its own."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from model_types.base import TypeInfo


class Input(BaseModel):
    """Any object: what a version takes, its own schema says."""

    model_config = ConfigDict(extra="allow")


INFO = TypeInfo(
    name="custom",
    description="Runs a Python class of your own: load, predict, unload.",
    Input=Input,
    Output=Any,
    engines={"python": "model_types.custom.python:Python"},
    default_engine="python",
    own_schemas=True,
    chunks="items",
)
