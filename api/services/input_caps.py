"""What an operator allows in an input at most, whatever the version's schema would."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from model_types.base import TypeInfo

Schema = dict[str, Any]

# The fields that may hold many texts, by their types.
_MANY_TEXTS = {"embeddings": "text", "rerank": "documents"}


@dataclass(frozen=True, slots=True)
class InputCaps:
    """The longest text in characters, and how many texts an input may hold; None leaves it to the schema."""

    text_chars: int | None = None
    texts: int | None = None

    def narrowed(self, schema: Schema, info: TypeInfo) -> Schema:
        """The schema with these bounds in it, or the very same where there are none for it.

        What names a file is no text: its file has limits of its own.
        """
        many = _MANY_TEXTS.get(info.name) if self.texts is not None else None
        if self.text_chars is None and many is None:
            return schema
        narrow = deepcopy(schema)
        properties: Schema = narrow.get("properties", {})
        if self.texts is not None and many in properties:
            for described in _alternatives(properties[many]):
                # A list of numbers is one text, as the ids of its tokens.
                if described.get("type") == "array" and not _is_integer(described.get("items")):
                    _cap(described, "maxItems", self.texts)
        if self.text_chars is not None:
            files = set() if info.own_schemas else _fields_of_files(info)
            texts = [described for name, described in properties.items() if name not in files]
            for described in _strings([*texts, *narrow.get("$defs", {}).values()]):
                _cap(described, "maxLength", self.text_chars)
        return narrow


UNCAPPED = InputCaps()


def _cap(described: Schema, keyword: str, most: int) -> None:
    described[keyword] = min(most, described.get(keyword, most))


def _is_integer(described: Any) -> bool:
    return isinstance(described, dict) and described.get("type") == "integer"


def _fields_of_files(info: TypeInfo) -> set[str]:
    """The fields of a type that name files, which another schema of the version's may describe otherwise."""
    properties = info.input_schema().get("properties", {})
    return {name for name, described in properties.items() if '"x-media"' in json.dumps(described)}


def _alternatives(described: Any) -> Iterator[Schema]:
    if isinstance(described, dict):
        yield described
        for option in described.get("anyOf", ()):
            yield from _alternatives(option)


def _strings(schemas: list[Any]) -> Iterator[Schema]:
    """The schemas of texts in these, however deep."""
    for described in schemas:
        if not isinstance(described, dict):
            continue
        if described.get("type") == "string" and not {"x-media", "enum", "const"} & described.keys():
            yield described
        inner = [described.get("items"), described.get("additionalProperties")]
        for keyword in ("anyOf", "oneOf", "allOf", "prefixItems"):
            inner += described.get(keyword, ())
        yield from _strings([*inner, *described.get("properties", {}).values()])
