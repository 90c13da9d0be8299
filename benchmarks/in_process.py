"""The base of `openai`: models as lanes have them, called directly, in a process with nothing around them.

Reads one `Task` after the other from standard input and answers each with `Done`, as lines of JSON.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from functools import cache
from typing import Any

import msgspec
from pydantic_core import to_jsonable_python

from model_types import registry
from model_types.base import Failure, ModelType, VersionSpec


class Task(msgspec.Struct, frozen=True):
    """Inputs of a model, of which so many come at once, and the next when these are done."""

    model_type: str
    folder: str
    inputs: Sequence[dict[str, Any]]
    at_once: int


class Done(msgspec.Struct, frozen=True):
    """The outputs in the order of the inputs, and after how long each was there."""

    outputs: Sequence[Any]
    latencies_ms: Sequence[float]


class NoOutput(RuntimeError):
    """The model has failed for one of the inputs."""


@cache
def load(model_type: str, folder: str) -> ModelType:
    """The model on the CPU, as a version without options has it."""
    engine = registry.get(model_type).default_engine
    version = VersionSpec("1", "benchmark/model", model_type, engine, folder)
    model = registry.engine(version)
    model.load(version, "cpu")
    return model


def run(task: Task) -> Done:
    """A session for each group of inputs. Raises `NoOutput`."""
    model = load(task.model_type, task.folder)
    outputs: list[Any] = []
    latencies_ms: list[float] = []
    for start in range(0, len(task.inputs), task.at_once):
        group = _group(model, task.inputs[start : start + task.at_once])
        outputs += [output for output, _ in group]
        latencies_ms += [milliseconds for _, milliseconds in group]
    return Done(to_jsonable_python(outputs), latencies_ms)


def _group(model: ModelType, inputs: Sequence[dict[str, Any]]) -> list[tuple[Any, float]]:
    """The output of each, and when it was there, in milliseconds after all of them came."""
    came_at = time.perf_counter()
    session = model.session()
    for number, value in enumerate(inputs):
        session.add(str(number), model.prepare(model.parse(value)))
    done: dict[str, tuple[Any, float]] = {}
    while len(session):
        for key, output in session.step().items():
            if isinstance(output, Failure):
                raise NoOutput(output.message)
            done[key] = output, (time.perf_counter() - came_at) * 1000
    return [done[str(number)] for number in range(len(inputs))]


def main() -> None:
    """Serve tasks."""
    for line in sys.stdin.buffer:
        done = run(msgspec.json.decode(line, type=Task))
        sys.stdout.buffer.write(msgspec.json.encode(done) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
