"""A version's input schema: how it may be written, and how inputs are held against it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import chain
from typing import Any

import jsonschema_rs
from jsonschema_rs import ValidationErrorKind as Kind
from pydantic import BaseModel, ValidationError

from api.errors import FieldError, Invalid, plain
from model_types.base import TypeInfo
from model_types.media import InputFile, files_described, files_in, takes_files

FIELD = "input_schema"
OUTPUT_FIELD = "output_schema"
MAX_SCHEMA_BYTES = 64 * 1024
MAX_INPUT_DEPTH = 64
MAX_SCHEMA_DEPTH = 64
MAX_ERRORS = 20

Schema = dict[str, Any]


def normalise(input_schema: Schema | None, info: TypeInfo) -> Schema:
    """The JSON Schema (draft 2020-12) that `input_schema` stands for.

    It may be a JSON Schema of an object, or a bare map of property names to their schemas, in which a
    property without a default is required unless it says `"required": false` or `"optional": true`.
    Without one, it is the model type's own, if it has one. Unknown fields are refused unless a JSON Schema
    says otherwise. Raises `Invalid`, naming the property that is broken or that the model type does not
    take.
    """
    if not input_schema and info.own_schemas:
        raise Invalid([(FIELD, f"is needed for {info.name}: `augury models add` reads it from the class")])
    if not input_schema:
        return info.input_schema()
    _check_size(FIELD, input_schema)
    schema = dict(input_schema) if _is_json_schema(input_schema) else _from_bare_map(input_schema)
    if schema.setdefault("type", "object") != "object":
        raise Invalid([(f"{FIELD}.type", "must be object")])
    if not {"allOf", "anyOf", "oneOf", "$ref", "unevaluatedProperties"} & schema.keys():
        schema.setdefault("additionalProperties", False)
    _compile_checked(FIELD, schema)
    _check_against_type(schema, info)
    _check_defaults(schema)
    return schema


def check_output_schema(output_schema: Schema | None, info: TypeInfo) -> Schema | None:
    """The JSON Schema of what a version gives, which only types that leave it open take. Raises `Invalid`."""
    if output_schema is None:
        return None
    if not info.own_schemas:
        raise Invalid([(OUTPUT_FIELD, f"is not to be given: {info.name} has its own")])
    _check_size(OUTPUT_FIELD, output_schema)
    _compile_checked(OUTPUT_FIELD, output_schema)
    return output_schema


def _is_json_schema(schema: Schema) -> bool:
    """In a bare map every value is a property's schema, also under the names of keywords."""
    if not isinstance(schema.get("properties", {}), dict):
        return True
    keywords = isinstance(schema.get("type"), str) or not {"$schema", "$ref", "$id"}.isdisjoint(schema)
    properties = schema.get("properties", {}).values()
    return keywords or (bool(properties) and all(isinstance(value, dict) for value in properties))


def _from_bare_map(properties: Schema) -> Schema:
    described: Schema = {}
    required = []
    for name, given in properties.items():
        if not isinstance(given, dict):
            raise Invalid([(f"{FIELD}.{name}", 'must be a schema, such as {"type": "string"}')])
        schema = dict(given)
        needed = "default" not in schema
        # In a property's own schema, "required" would be a list of its properties' names.
        if isinstance(schema.get("required"), bool):
            needed = schema.pop("required")
        if isinstance(schema.get("optional"), bool):
            needed = not schema.pop("optional")
        described[name] = schema
        if needed:
            required.append(name)
    return {"type": "object", "properties": described, "required": required}


def _check_size(field: str, schema: Schema) -> None:
    if _is_deeper(schema, MAX_SCHEMA_DEPTH):
        raise Invalid([(field, "is nested too deeply")])
    if len(json.dumps(schema)) > MAX_SCHEMA_BYTES:
        raise Invalid([(field, f"is longer than {MAX_SCHEMA_BYTES} bytes")])


def _compile_checked(field: str, schema: Schema) -> None:
    try:
        _compile(schema)
    except jsonschema_rs.ValidationError as error:
        path = [str(part) for part in error.instance_path if part != "properties"]
        raise Invalid([(".".join([field, *path]), f"is not a valid schema: {error.message}")]) from None
    except ValueError as error:
        raise Invalid([(field, f"is not a valid schema: {error}")]) from None


def _check_against_type(schema: Schema, info: TypeInfo) -> None:
    """Every property must be one that the model type takes, and those that it needs must be there."""
    properties = schema.get("properties", {})
    fields = {field.alias or name: field for name, field in info.Input.model_fields.items()}
    errors: list[FieldError] = []
    if info.Input.model_config.get("extra") != "allow":
        known = ", ".join(fields)
        errors += [
            (f"{FIELD}.{name}", f"is not an input of {info.name}, which takes: {known}")
            for name in properties
            if name not in fields
        ]
    if schema.get("additionalProperties") is False:
        errors += [
            (f"{FIELD}.{name}", f"is missing, and {info.name} needs it")
            for name, field in fields.items()
            if field.is_required() and name not in properties
        ]
    if errors:
        raise Invalid(errors)


def _check_defaults(schema: Schema) -> None:
    """A default must fit its own property."""
    validator = _compile({**schema, "required": []})
    for name, described in schema.get("properties", {}).items():
        if not isinstance(described, dict) or described.get("default") is None:
            continue
        for error in validator.iter_errors({name: described["default"]}):
            if error.instance_path[:1] == [name]:
                raise Invalid([(f"{FIELD}.{name}.default", _sentence(error))])


def _compile(schema: Schema) -> jsonschema_rs.Draft202012Validator:
    """Compiled without access to other documents, and with patterns that cannot take exponential time."""
    return jsonschema_rs.Draft202012Validator(
        schema,
        offline=True,
        validate_formats=True,
        pattern_options=jsonschema_rs.RegexOptions(),
        mask="the value",
    )


@dataclass(frozen=True, slots=True)
class Examined:
    """A valid input with its defaults, what it takes of a batch's budget, in its model type's unit, and its
    files with where they are in it.
    """

    values: dict[str, Any]
    cost: int
    files: Sequence[tuple[tuple[str, ...], InputFile]] = ()


class InputValidator:
    """Holds inputs against a version's schema and its model type, so that no worker gets a bad one."""

    def __init__(self, schema: Schema, info: TypeInfo) -> None:
        """`schema` has been through `normalise`."""
        self._schema = schema
        self._info = info
        self._validator = _compile(schema)
        # A model type fills in its own defaults when it runs; another schema's are known only here.
        self._is_types_own = schema == info.input_schema()
        self._takes_files = takes_files(info.Input) or (
            info.own_schemas and '"x-media"' in json.dumps(schema)
        )

    def validate(self, value: dict[str, Any]) -> dict[str, Any]:
        """The input with the schema's defaults. Raises `Invalid`, naming each field as `input.<field>`."""
        return self.examine(value).values

    def examine(self, value: dict[str, Any]) -> Examined:
        """`validate`, and the input's cost in the same go."""
        if _is_deeper(value, MAX_INPUT_DEPTH):
            raise Invalid([("input", f"is nested deeper than {MAX_INPUT_DEPTH} levels")])
        values = value if self._is_types_own else _with_defaults(self._schema, value, self._schema)
        try:
            parsed = self._info.Input.model_validate(values)
            if self._validator.is_valid(values):
                return Examined(values, self._info.cost(parsed), self._files(values, parsed))
        except ValidationError as error:
            type_errors = _by_type(error)
        except ValueError:
            raise Invalid([("input", "holds what is not Unicode text")]) from None
        else:
            type_errors = self._by_strict_type(values)
        schema_errors = self._by_schema(values)
        # The type's words are the better ones for its own schema; a narrower schema knows better itself.
        first, second = (type_errors, schema_errors) if self._is_types_own else (schema_errors, type_errors)
        raise Invalid((first or second)[:MAX_ERRORS])

    def takes_list(self, name: str) -> bool:
        """Whether the field of this name may hold several values."""
        described = self._schema.get("properties", {}).get(name, {})
        return any(option.get("type") == "array" for option in (described, *described.get("anyOf", ())))

    def _files(
        self, values: dict[str, Any], parsed: BaseModel
    ) -> Sequence[tuple[tuple[str, ...], InputFile]]:
        if not self._takes_files:
            return ()
        return list(files_described(self._schema, values) if self._info.own_schemas else files_in(parsed))

    def _by_strict_type(self, values: dict[str, Any]) -> list[FieldError]:
        """What the type has let pass although its schema does not, such as "8" for a number."""
        try:
            self._info.Input.model_validate(values, strict=True)
        except ValidationError as error:
            return _by_type(error)
        return []

    def _by_schema(self, values: dict[str, Any]) -> list[FieldError]:
        errors: list[FieldError] = []
        for error in chain.from_iterable(map(_nearest, self._validator.iter_errors(values))):
            field = _name(error.instance_path)
            if isinstance(error.kind, Kind.Required):
                errors.append((f"{field}.{error.kind.property}", "is required"))
            elif isinstance(error.kind, Kind.AdditionalProperties):
                errors += [(f"{field}.{name}", "is not a known field") for name in error.kind.unexpected]
            else:
                errors.append((field, _sentence(error)))
        return errors


def _is_deeper(value: dict[str, Any] | list[Any], levels: int) -> bool:
    if levels == 0:
        return True
    items = value.values() if isinstance(value, dict) else value
    return any(_is_deeper(item, levels - 1) for item in items if isinstance(item, dict | list))


def _by_type(error: ValidationError) -> list[FieldError]:
    return [(_name(item["loc"]), plain(item["msg"])) for item in error.errors(include_url=False)]


def _name(path: list[str | int] | tuple[str | int, ...]) -> str:
    return ".".join(["input", *(str(part) for part in path)])


def _nearest(error: jsonschema_rs.ValidationError) -> list[jsonschema_rs.ValidationError]:
    """What is wrong by the alternative whose types the value has; the error itself where there is none."""
    if isinstance(error.kind, Kind.AnyOf | Kind.OneOfNotValid):
        for alternative in error.kind.context:
            if not any(isinstance(one.kind, Kind.Type) for one in alternative):
                return list(chain.from_iterable(map(_nearest, alternative)))
    return [error]


def _sentence(error: jsonschema_rs.ValidationError) -> str:
    return error.message.removeprefix("the value ")


def _with_defaults(schema: Any, value: dict[str, Any], root: Schema) -> dict[str, Any]:
    """A copy of `value` with the defaults of the properties that it lacks, in the objects it has as well."""
    filled = dict(value)
    for name, described in _resolved(schema, root).get("properties", {}).items():
        if name not in filled:
            # A default of null says that the field may be left out.
            if isinstance(described, dict) and described.get("default") is not None:
                filled[name] = deepcopy(described["default"])
        elif isinstance(filled[name], dict):
            filled[name] = _with_defaults(described, filled[name], root)
    return filled


def _resolved(schema: Any, root: Schema) -> Schema:
    """`schema`, or what its `$ref` into `$defs` stands for; nothing where defaults cannot be told."""
    if not isinstance(schema, dict):
        return {}
    reference = schema.get("$ref", "")
    if reference.startswith("#/$defs/"):
        target = root.get("$defs", {}).get(reference.removeprefix("#/$defs/"), {})
        return target if isinstance(target, dict) else {}
    return schema
