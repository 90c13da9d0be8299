"""Finding the class that a custom model's path names, and what it takes and gives."""

from __future__ import annotations

import inspect
import sys
import typing
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.errors import PydanticInvalidForJsonSchema

from model_types.batching import one_line
from model_types.errors import ModelUnavailable
from model_types.trust import Trust

ENTRY_POINT_GROUP = "augury.models"
DEFAULT_CLASS = "Predictor"
_STREAMS = (Iterator, Iterable, Generator)
_ASYNC_STREAMS = (AsyncIterator, AsyncGenerator)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a class is: in a file, or in an installed module or one that an entry point names."""

    file: Path | None
    module: str
    class_name: str

    @classmethod
    def of(cls, path: str) -> Place:
        """The place that "folder/predict.py:Predictor", "package.module:Class" or an entry point names.

        A file's class is called Predictor if the path does not say. Raises `ModelUnavailable`.
        """
        name, colon, class_name = path.rpartition(":") if ":" in path else (path, "", "")
        if name.endswith(".py"):
            return cls(Path(name).expanduser().absolute(), "", class_name or DEFAULT_CLASS)
        if colon:
            return cls(None, name, class_name)
        for point in entry_points(group=ENTRY_POINT_GROUP, name=path):
            return cls(None, point.module, point.attr)
        raise ModelUnavailable(
            f"{path} is neither a file such as predict.py:Predictor, nor a class as package.module:Class, "
            f"nor an installed entry point of the group {ENTRY_POINT_GROUP}"
        )

    def __str__(self) -> str:
        return f"{self.file or self.module}:{self.class_name}"


def find(place: Place, trust: Trust | None = None) -> type:
    """The class at this place; its module is imported. Raises `ModelUnavailable`.

    With `trust` a file's code runs only where an administrator allows it; who installs a package trusts it.
    """
    if place.file is not None and trust is not None:
        trust.require(str(place.file), "code of its own")
    try:
        module = _from_file(place.file) if place.file else import_module(place.module)
        found: Any = module
        for part in place.class_name.split("."):
            found = getattr(found, part)
    except ModelUnavailable:
        raise
    except Exception as error:  # The user's module may fail in any way while it is imported.
        raise ModelUnavailable(f"{place} cannot be imported: {one_line(error)}") from error
    if not (inspect.isclass(found) and callable(getattr(found, "predict", None))):
        raise ModelUnavailable(f"{place} is not a class with a method predict(self, input)")
    return found


def _from_file(file: Path) -> ModuleType:
    """A file's module, run anew; it is not found by name, so that two files may be called the same."""
    if not file.is_file():
        raise ModelUnavailable(f"{file} is not a file on this machine")
    spec = spec_from_file_location(f"augury_custom_{abs(hash(file))}", file)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # annotations in quotes are looked up there
    spec.loader.exec_module(module)
    return module


@dataclass(frozen=True, slots=True)
class Signature:
    """What a class's `predict` takes and gives: the whole `output`, and each `part` where it has parts."""

    input: type[BaseModel]
    output: TypeAdapter[Any] | None
    part: TypeAdapter[Any] | None = None

    @classmethod
    def of(cls, found: type) -> Signature:
        """Read from the annotations of `predict`, or from attributes `Input` and `Output` of the class.

        Raises `ModelUnavailable` where no input is told.
        """
        method: Any = found.predict  # type: ignore[attr-defined]  # `find` has seen to it
        try:
            hints = typing.get_type_hints(method)
            parameters = list(inspect.signature(method).parameters)
        except Exception as error:  # Annotations are code as well.
            raise ModelUnavailable(
                f"the annotations of {found.__name__}.predict are broken: {one_line(error)}"
            ) from error
        takes = hints.get(parameters[1]) if len(parameters) > 1 else None
        takes = takes or getattr(found, "Input", None)
        if not (inspect.isclass(takes) and issubclass(takes, BaseModel)):
            raise ModelUnavailable(
                f"{found.__name__}.predict does not tell its input: write predict(self, input: Input), "
                "where Input is a pydantic model"
            )
        gives = hints.get("return", getattr(found, "Output", None))
        if inspect.iscoroutinefunction(method) or typing.get_origin(gives) in _ASYNC_STREAMS:
            raise ModelUnavailable(f"{found.__name__}.predict is async, and a lane runs one thing at a time")
        if typing.get_origin(gives) in _STREAMS:
            part = next(iter(typing.get_args(gives)), Any)
            return cls(takes, TypeAdapter(list[part]), TypeAdapter(part))  # type: ignore[valid-type]  # known only now
        return cls(takes, None if gives in (None, Any) else TypeAdapter(gives))


def schemas(path: str) -> dict[str, dict[str, Any]]:
    """The JSON Schemas of a class, `input_schema` and, where it says what it gives, `output_schema`.

    Its code is run for it. A list whose items come one by one is marked as Cog marks it. Raises
    `ModelUnavailable`.
    """
    signature = Signature.of(find(Place.of(path)))
    found = {"input_schema": signature.input.model_json_schema()}
    if signature.output is not None:
        with suppress(PydanticInvalidForJsonSchema):  # what can be checked cannot always be described
            found["output_schema"] = signature.output.json_schema(mode="serialization")
    if signature.part is not None and "output_schema" in found:
        found["output_schema"]["x-cog-array-type"] = "iterator"
    return found
