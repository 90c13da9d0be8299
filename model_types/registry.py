"""Which model types there are: the built-in ones and those that installed packages bring."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.metadata import entry_points

from model_types import (
    classification,
    custom,
    echo,
    embeddings,
    image_to_text,
    object_detection,
    rerank,
    speech_to_text,
    text_generation,
    text_to_image,
    torchvision_ops,
)
from model_types.base import ModelType, ModelUnavailable, TypeInfo, VersionSpec

ENTRY_POINT_GROUP = "augury.model_types"

BUILT_IN: tuple[TypeInfo, ...] = (
    echo.INFO,
    text_generation.INFO,
    embeddings.INFO,
    rerank.INFO,
    classification.INFO,
    text_to_image.INFO,
    object_detection.INFO,
    speech_to_text.INFO,
    image_to_text.INFO,
    custom.INFO,
)


class UnknownModelType(LookupError):
    """No model type has this name; the message lists those that exist."""


class UnknownEngine(LookupError):
    """The model type has no engine of this name; the message lists those it has."""


class InvalidModelType(Exception):
    """An installed package's entry point is not a model type, or takes a name that is in use."""


def get(name: str) -> TypeInfo:
    """The model type of this name or alias. Raises `UnknownModelType`."""
    try:
        return _by_name()[name]
    except KeyError:
        raise UnknownModelType(f"there is no model type {name!r}; there are: {', '.join(names())}") from None


def all() -> tuple[TypeInfo, ...]:
    """Every model type once, the built-in ones first."""
    return tuple(info for name, info in _by_name().items() if name == info.name)


def names() -> tuple[str, ...]:
    """The names of all model types, without aliases."""
    return tuple(info.name for info in all())


def engine(spec: VersionSpec) -> ModelType:
    """A new engine for this version, not yet loaded: the only call here that imports heavy libraries.

    Raises `UnknownModelType`, `UnknownEngine`, and `ModelUnavailable` where a library is missing.
    """
    info = get(spec.model_type)
    if spec.engine not in info.engines:
        raise UnknownEngine(
            f"{info.name} has no engine {spec.engine!r}; it has: {', '.join(sorted(info.engines))}"
        )
    torchvision_ops.install()
    module, _, class_name = info.engines[spec.engine].partition(":")
    try:
        engine_class: type[ModelType] = getattr(import_module(module), class_name)
    except ImportError as error:
        raise ModelUnavailable(
            f"the engine {spec.engine!r} of {info.name} cannot be imported here: {error}"
        ) from error
    model = engine_class()
    model.info = info
    return model


@cache
def _by_name() -> dict[str, TypeInfo]:
    known: dict[str, TypeInfo] = {}
    for info in (*BUILT_IN, *_installed()):
        for name in (info.name, *info.aliases):
            if name in known:
                raise InvalidModelType(f"two model types are called {name!r}")
            known[name] = info
    return known


def _installed() -> list[TypeInfo]:
    """What the entry points load to, by name, so that the order does not hang on the file system."""
    found: list[TypeInfo] = []
    for point in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda point: point.name):
        info = point.load()
        if not isinstance(info, TypeInfo):
            raise InvalidModelType(f"the entry point {point.name!r} ({point.value}) is not a TypeInfo")
        found.append(info)
    return found
