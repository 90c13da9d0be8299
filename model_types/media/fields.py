"""Fields of an input that name a file, and where they are in an input."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

MediaKind = Literal["image", "mask", "audio"]


@dataclass(slots=True)
class InputFile:
    """A file as an input names it, and what it holds once a lane has fetched and decoded it.

    `reference` is an http(s) URL, a `data:` URI, bare base64, or a file that this server keeps. `content`
    is None at the gateway; an engine's `prepare` finds there

    - of an image: a `PIL.Image.Image` in RGB, upright (EXIF orientation applied); of a mask: in L;
    - of audio: a `Sound`, mono float32 samples at 16 kHz.
    """

    reference: str
    kind: MediaKind = "image"
    content: Any = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Media:
    """Marks a field of an `Input` as a file of this kind; in JSON it is a string."""

    kind: MediaKind

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def named(reference: str) -> InputFile:
            return InputFile(reference, self.kind)

        from_text = core_schema.no_info_after_validator_function(named, core_schema.str_schema(min_length=1))
        return core_schema.union_schema(
            [core_schema.is_instance_schema(InputFile), from_text],
            serialization=core_schema.plain_serializer_function_ser_schema(lambda file: file.reference),
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"type": "string", "minLength": 1, "x-media": self.kind}


# Where a file is in an input.
FieldPath = tuple[str, ...]

ImageInput = Annotated[InputFile, Media("image")]
MaskInput = Annotated[InputFile, Media("mask")]
AudioInput = Annotated[InputFile, Media("audio")]


@cache
def takes_files(model: type[BaseModel]) -> bool:
    """Whether an input of this type may name files at all."""
    return '"x-media"' in json.dumps(model.model_json_schema())


def files_in(value: Any, path: FieldPath = ()) -> Iterator[tuple[FieldPath, InputFile]]:
    """Every file of a validated input, with its path: `("messages", "0", "image")`."""
    if isinstance(value, InputFile):
        yield path, value
    elif isinstance(value, BaseModel):
        for name, described in type(value).model_fields.items():
            yield from files_in(getattr(value, name), (*path, described.alias or name))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from files_in(item, (*path, str(index)))
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from files_in(item, (*path, str(name)))


def files_described(
    schema: Mapping[str, Any],
    value: Any,
    path: FieldPath = (),
    *,
    definitions: Mapping[str, Any] | None = None,
    seen: set[str] | None = None,
) -> Iterator[tuple[FieldPath, InputFile]]:
    """Every file of an input in JSON, by its JSON Schema: for inputs whose pydantic model is not at hand.

    `definitions` are the root's `$defs`, `seen` those that have been held against this value already.
    """
    known = schema.get("$defs", {}) if definitions is None else definitions
    seen = set() if seen is None else seen
    for option in (*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ())):
        yield from files_described(option, value, path, definitions=known, seen=seen)
    name = str(schema.get("$ref", "")).removeprefix("#/$defs/")
    if name in known and name not in seen:
        seen.add(name)
        yield from files_described(known[name], value, path, definitions=known, seen=seen)
    if isinstance(value, str) and schema.get("x-media") in get_args(MediaKind):
        yield path, InputFile(value, schema["x-media"])
    elif isinstance(value, dict):
        for name, described in schema.get("properties", {}).items():
            if name in value and isinstance(described, dict):
                yield from files_described(described, value[name], (*path, name), definitions=known)
    elif isinstance(value, list) and isinstance(schema.get("items"), dict):
        for index, item in enumerate(value):
            yield from files_described(schema["items"], item, (*path, str(index)), definitions=known)
