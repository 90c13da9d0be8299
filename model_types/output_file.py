"""A file that a model gives back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Self

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema


@dataclass(frozen=True, slots=True)
class OutputFile:
    """A file anywhere in an output; clients find its URL in its place, and so does the output's schema.

    `name` is its last part there, such as `out-0.png`, and tells outputs of one prediction apart.
    """

    name: str
    media_type: str
    data: bytes = field(repr=False)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """A field of this type is dumped as what the context's `refer` makes of it, else as its name."""

        def dumped(file: Self, info: core_schema.SerializationInfo) -> str:
            return str(info.context["refer"](file)) if info.context else file.name

        serialization = core_schema.plain_serializer_function_ser_schema(dumped, info_arg=True)
        return core_schema.is_instance_schema(cls, serialization=serialization)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"type": "string", "format": "uri"}
