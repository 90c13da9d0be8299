"""A version's input and output in OpenAPI 3.0 as Cog writes it, which Replicate's clients read.

https://github.com/replicate/cog/blob/main/docs/http.md; what the clients look at: `Input`, `Output`,
`x-order`, `format: uri`, `x-cog-array-type` and `x-cog-array-display`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from itertools import chain, count
from typing import Any

from pydantic import TypeAdapter
from pydantic.errors import PydanticUserError

from api.cache import TimedCache
from db.tables import ModelVersion
from model_types import registry
from model_types.base import TypeInfo
from model_types.registry import UnknownModelType

#: The release of Cog whose dialect this is.
COG_VERSION = "0.23.0"
# How many definitions may refer to one another in a row.
MAX_DEPTH = 32

Schema = dict[str, Any]

_COMPONENTS = "#/components/schemas/"
_DEFINITIONS = "#/$defs/"
# Keywords that hold one schema, and those that hold a list of them.
_ONE = ("items", "additionalProperties", "not")
_SEVERAL = ("anyOf", "oneOf", "allOf")
# What JSON Schema has and OpenAPI 3.0 has not: without them a schema lets more pass, which the gateway will
# still refuse.
# fmt: off
_UNKNOWN = frozenset({
    "$schema", "$id", "$anchor", "$comment", "$defs", "definitions", "if", "then", "else",
    "contains", "minContains", "maxContains", "prefixItems", "patternProperties", "propertyNames",
    "dependentRequired", "dependentSchemas", "unevaluatedProperties", "unevaluatedItems",
    "contentEncoding", "contentMediaType", "contentSchema", "examples",
})
# fmt: on
# Versions never change, so only room limits how long these last.
_documents: TimedCache[str, Schema] = TimedCache(seconds=3600.0, max_entries=1000)


def of_version(version: ModelVersion) -> Schema:
    """The OpenAPI document of a stored version. It is shared: not to be changed."""
    document = _documents.get(version.id)
    if document is None:
        document = openapi_schema(version.input_schema, output_schema(version))
        _documents.put(version.id, document)
    return document


def output_schema(version: ModelVersion) -> Schema:
    """The JSON Schema of what a version gives, with Cog's marks where it comes in chunks.

    Empty, which is anything, for a version that brings none, or whose type is not installed here.
    """
    if version.output_schema is not None:
        return version.output_schema
    try:
        return _output_of(registry.get(version.model_type).name)
    except UnknownModelType:
        return {}


@cache
def _output_of(model_type: str) -> Schema:
    info: TypeInfo = registry.get(model_type)
    if info.gives_text:
        return {
            "type": "array",
            "items": {"type": "string"},
            "x-cog-array-type": "iterator",
            "x-cog-array-display": "concatenate",
        }
    try:
        schema = TypeAdapter(info.Output).json_schema(mode="serialization")
    except PydanticUserError:  # an installed package's type may give what JSON Schema has no words for
        return {}
    if info.chunks == "items" and schema.get("type") == "array":
        schema["x-cog-array-type"] = "iterator"
    return schema


def openapi_schema(input_schema: Schema, output_schema: Schema) -> Schema:
    """The OpenAPI document of two JSON Schemas (draft 2020-12)."""
    components: dict[str, Schema] = {"Input": {}, "Output": {}, **_ENVELOPES}
    takes = _Translation(input_schema, components).root()
    fields = takes.get("properties", {}).items()
    takes["properties"] = {
        name: _field(name, described, order, components) for order, (name, described) in enumerate(fields)
    }
    gives = _Translation(output_schema, components).root()
    components |= {
        "Input": {"type": "object", **takes, "title": "Input"},
        "Output": {**gives, "title": "Output"},
    }
    return {
        "openapi": "3.0.2",
        "info": {"title": "Cog", "version": "0.1.0"},
        "paths": {"/predictions": {"post": _operation(streams="x-cog-array-type" in gives)}},
        "components": {"schemas": components},
    }


def _field(name: str, schema: Schema, order: int, components: dict[str, Schema]) -> Schema:
    """A property of the input, with its title and place; choices become a component of their own."""
    field = {"allOf": [schema]} if "$ref" in schema else dict(schema)
    if "enum" in field:
        component = _free(name, components)
        kept = {key: field.pop(key) for key in ("enum", "type") if key in field}
        components[component] = {"title": name, "description": "An enumeration.", **kept}
        field["allOf"] = [{"$ref": _COMPONENTS + component}]
    return {"title": name.replace("_", " ").capitalize(), "x-order": order, **field}


def _free(wanted: str, components: Mapping[str, Schema]) -> str:
    """A component's name. Without slashes: clients cannot follow references further down."""
    plain = re.sub(r"\W", "_", wanted) or "_"
    numbered = (f"{plain}_{number}" for number in count(2))
    return next(name for name in chain([plain], numbered) if name not in components)


class _Translation:
    """One JSON Schema on its way to OpenAPI 3.0; what it refers to goes to `components`."""

    def __init__(self, schema: Schema, components: dict[str, Schema]) -> None:
        self._schema = schema
        self._definitions: Schema = schema.get("$defs", {})
        self._components = components
        # The names as components of the definitions that have been met.
        self._names: dict[str, str] = {}

    def root(self) -> Schema:
        """The schema itself, which is never a mere reference."""
        schema = self._schema
        if "$ref" in schema:  # so pydantic writes models that contain themselves
            name = schema["$ref"].removeprefix(_DEFINITIONS)
            schema = self._definitions.get(name, {})
        return self._translated(schema, ())

    def _translated(self, schema: Any, above: tuple[str, ...]) -> Schema:
        """A part; `above` are the definitions that it is in."""
        if not isinstance(schema, dict):  # true and false are schemas as well
            return {"not": {}} if schema is False else {}
        result = {key: value for key, value in schema.items() if key not in _UNKNOWN}
        for key in _ONE:
            if isinstance(result.get(key), dict):
                result[key] = self._translated(result[key], above)
        for key in _SEVERAL:
            if key in result:
                result[key] = [self._translated(part, above) for part in result[key]]
        if "properties" in result:
            parts = result["properties"].items()
            result["properties"] = {name: self._translated(part, above) for name, part in parts}
        if "$ref" in result:
            reference = self._reference(result.pop("$ref"), above)
            # In OpenAPI 3.0 nothing may stand beside a reference.
            result = {"allOf": [reference], **result} if result else reference
        return _in_3_0(result)

    def _reference(self, pointer: str, above: tuple[str, ...]) -> Schema:
        key = pointer.removeprefix(_DEFINITIONS)
        # Clients follow references to their end, so what contains itself is anything there.
        if key not in self._definitions or key in above or len(above) == MAX_DEPTH:
            return {}
        if key not in self._names:
            name = self._names[key] = _free(key, self._components)
            self._components[name] = {}
            self._components[name] = self._translated(self._definitions[key], (*above, key))
        return {"$ref": _COMPONENTS + self._names[key]}


def _in_3_0(schema: Schema) -> Schema:
    """A schema whose parts are translated, without the keywords that have another form in OpenAPI 3.0."""
    result = dict(schema)
    if "const" in result:
        result["enum"] = [result.pop("const")]
    for bound in ("minimum", "maximum"):
        exclusive = "exclusive" + bound.capitalize()
        if exclusive in result:
            result[bound] = result[exclusive]
            result[exclusive] = True
    if "x-media" in result:
        result["format"] = "uri"
    if result.get("default", ...) is None:
        del result["default"]
    return _nullable(result)


def _nullable(schema: Schema) -> Schema:
    """`null` is no type in OpenAPI 3.0, and there is no list of types."""
    result = dict(schema)
    if isinstance(result.get("type"), list):
        result.setdefault("anyOf", [{"type": name} for name in result.pop("type")])
    if {"type": "null"} in result.get("anyOf", ()):
        rest = [option for option in result.pop("anyOf") if option != {"type": "null"}]
        result["nullable"] = True
        if len(rest) == 1 and "$ref" in rest[0]:
            result["allOf"] = rest
        elif len(rest) == 1:
            result = {**rest[0], **result}
        elif rest:
            result["anyOf"] = rest
    return result


def _operation(streams: bool) -> Schema:
    operation: Schema = {
        "summary": "Predict",
        "description": "Run a single prediction on the model",
        "operationId": "predict_predictions_post",
        "requestBody": {"content": _json("PredictionRequest")},
        "responses": {"200": {"description": "Successful Response", "content": _json("PredictionResponse")}},
    }
    return {**operation, "x-cog-streaming": True} if streams else operation


def _json(component: str) -> Schema:
    return {"application/json": {"schema": {"$ref": _COMPONENTS + component}}}


_ENVELOPES: dict[str, Schema] = {
    "PredictionRequest": {
        "title": "PredictionRequest",
        "type": "object",
        "properties": {
            "id": {"title": "Id", "type": "string"},
            "input": {"$ref": _COMPONENTS + "Input"},
            "webhook": {"title": "Webhook", "type": "string", "format": "uri"},
            "webhook_events_filter": {
                "title": "Webhook Events Filter",
                "type": "array",
                "items": {"$ref": _COMPONENTS + "WebhookEvent"},
            },
        },
    },
    "PredictionResponse": {
        "title": "PredictionResponse",
        "type": "object",
        "properties": {
            "id": {"title": "Id", "type": "string"},
            "input": {"$ref": _COMPONENTS + "Input"},
            "output": {"$ref": _COMPONENTS + "Output"},
            "status": {"$ref": _COMPONENTS + "Status"},
            "error": {"title": "Error", "type": "string", "nullable": True},
            "logs": {"title": "Logs", "type": "string", "default": ""},
            "metrics": {"title": "Metrics", "type": "object"},
            "version": {"title": "Version", "type": "string"},
            "created_at": {"title": "Created At", "type": "string", "format": "date-time"},
            "started_at": {"title": "Started At", "type": "string", "format": "date-time", "nullable": True},
            "completed_at": {
                "title": "Completed At",
                "type": "string",
                "format": "date-time",
                "nullable": True,
            },
        },
    },
    "Status": {
        "title": "Status",
        "type": "string",
        "enum": ["starting", "processing", "succeeded", "canceled", "failed"],
    },
    "WebhookEvent": {
        "title": "WebhookEvent",
        "type": "string",
        "enum": ["start", "output", "logs", "completed"],
    },
}
