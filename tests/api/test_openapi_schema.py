"""What Replicate's clients read of a version: JSON Schema in Cog's dialect of OpenAPI."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from enum import StrEnum
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field

from api.services.openapi_schema import MAX_DEPTH, of_version, openapi_schema
from db.tables import ModelVersion
from model_types import registry
from model_types.media import ImageInput

Schema = dict[str, Any]


def components(input_schema: Schema, output_schema: Schema | None = None) -> Schema:
    document = openapi_schema(input_schema, output_schema or {})
    found: Schema = document["components"]["schemas"]
    return found


def fields(model: type[BaseModel]) -> Schema:
    properties: Schema = components(model.model_json_schema())["Input"]["properties"]
    return properties


def stored(model_type: str, output_schema: Schema | None = None) -> ModelVersion:
    return ModelVersion(
        id=f"{model_type}{output_schema}",
        model_type=model_type,
        input_schema=registry.get(model_type).input_schema(),
        output_schema=output_schema,
    )


def output_of(version: ModelVersion) -> Schema:
    output: Schema = of_version(version)["components"]["schemas"]["Output"]
    return output


def walk(part: Any) -> Iterator[Schema]:
    if isinstance(part, dict):
        yield part
    for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from walk(inner)


def dereferenced(schemas: Schema, part: Any) -> Any:
    """As the 2.0 client of Python does it: one level under components, to its end."""
    if isinstance(part, dict) and "$ref" in part:
        name = part["$ref"].removeprefix("#/components/schemas/")
        assert "/" not in name
        return dereferenced(schemas, schemas[name])
    if isinstance(part, dict):
        return {key: dereferenced(schemas, value) for key, value in part.items()}
    return [dereferenced(schemas, item) for item in part] if isinstance(part, list) else part


def test_fields_have_their_titles_places_bounds_and_defaults() -> None:
    class Input(BaseModel):
        prompt: str = Field(min_length=1, description="What to draw.")
        guidance_scale: float = Field(7.5, gt=0, le=20)
        seed: int | None = None

    schema = components(Input.model_json_schema())["Input"]
    assert schema["required"] == ["prompt"]
    assert schema["properties"] == {
        "prompt": {
            "type": "string",
            "title": "Prompt",
            "description": "What to draw.",
            "minLength": 1,
            "x-order": 0,
        },
        "guidance_scale": {
            "type": "number",
            "title": "Guidance Scale",
            "minimum": 0,
            "exclusiveMinimum": True,
            "maximum": 20,
            "default": 7.5,
            "x-order": 1,
        },
        "seed": {"type": "integer", "title": "Seed", "nullable": True, "x-order": 2},
    }


def test_a_bare_map_of_properties_gets_titles_and_its_own_order() -> None:
    bare = {"type": "object", "properties": {"z_axis": {"type": "number"}, "a": {"type": ["string", "null"]}}}
    assert components(bare)["Input"]["properties"] == {
        "z_axis": {"type": "number", "title": "Z axis", "x-order": 0},
        "a": {"type": "string", "nullable": True, "title": "A", "x-order": 1},
    }


def test_choices_are_components_that_a_field_refers_to() -> None:
    class Mood(StrEnum):
        GOOD = "good"
        BAD = "bad"

    class Input(BaseModel):
        task: Literal["write", "read"] = "write"
        mood: Mood = Mood.GOOD

    schemas = components(Input.model_json_schema())
    assert schemas["Input"]["properties"] == {
        "task": {
            "allOf": [{"$ref": "#/components/schemas/task"}],
            "title": "Task",
            "default": "write",
            "x-order": 0,
        },
        "mood": {
            "allOf": [{"$ref": "#/components/schemas/Mood"}],
            "title": "Mood",
            "default": "good",
            "x-order": 1,
        },
    }
    assert (schemas["task"]["type"], schemas["task"]["enum"]) == ("string", ["write", "read"])
    assert schemas["Mood"]["enum"] == ["good", "bad"]


def test_files_are_uris_alone_and_in_lists() -> None:
    class Input(BaseModel):
        image: ImageInput
        more: list[ImageInput] | None = None

    image = fields(Input)["image"]
    more = fields(Input)["more"]
    assert (image["type"], image["format"]) == ("string", "uri")
    assert (more["items"]["format"], more["nullable"]) == ("uri", True)
    assert output_of(stored("text-to-image"))["items"] == {"type": "string", "format": "uri"}


def test_text_that_comes_in_chunks_is_an_iterator_to_be_joined() -> None:
    assert output_of(stored("text-generation")) == {
        "title": "Output",
        "type": "array",
        "items": {"type": "string"},
        "x-cog-array-type": "iterator",
        "x-cog-array-display": "concatenate",
    }
    document = of_version(stored("text-generation"))
    assert document["paths"]["/predictions"]["post"]["x-cog-streaming"] is True
    assert "x-cog-streaming" not in of_version(stored("embeddings"))["paths"]["/predictions"]["post"]


def test_a_text_that_is_a_part_of_an_output_leaves_it_an_object() -> None:
    output = of_version(stored("speech-to-text"))["components"]["schemas"]["Output"]
    assert (output["type"], output["properties"]["text"]["type"]) == ("object", "string")


def test_a_custom_versions_own_output_goes_before_what_its_type_gives() -> None:
    own = {"type": "array", "items": {"type": "integer"}, "x-cog-array-type": "iterator"}
    assert output_of(stored("custom", own)) == {**own, "title": "Output"}
    assert output_of(stored("custom")) == {"title": "Output"}


def test_a_type_that_is_not_installed_here_gives_anything() -> None:
    version = ModelVersion(id="gone", model_type="gone", input_schema={}, output_schema=None)
    assert output_of(version) == {"title": "Output"}


def test_an_installed_types_output_that_nothing_can_describe_is_anything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    odd = replace(registry.get("echo"), name="odd", Output=Callable[[], int], chunks=None)
    monkeypatch.setattr(registry, "get", lambda _: odd)
    version = ModelVersion(id="odd", model_type="odd", input_schema={}, output_schema=None)
    assert output_of(version) == {"title": "Output"}


def test_what_contains_itself_ends_where_it_begins_again() -> None:
    class Node(BaseModel):
        name: str
        children: list[Node] = []

    schemas = components(Node.model_json_schema(), Node.model_json_schema(mode="serialization"))
    assert list(schemas["Input"]["properties"]) == ["name", "children"]
    assert schemas["Output"]["properties"]["name"]["type"] == "string"
    assert dereferenced(schemas, schemas)["Input"]["properties"]["children"]["items"]["properties"]["name"]


def test_definitions_of_input_and_output_do_not_stand_in_each_others_way() -> None:
    takes = {"properties": {"a": {"$ref": "#/$defs/Output"}}, "$defs": {"Output": {"type": "integer"}}}
    gives = {"items": {"$ref": "#/$defs/Output"}, "$defs": {"Output": {"type": "number"}}}
    schemas = components(takes, gives)
    plain = dereferenced(schemas, schemas)
    assert plain["Input"]["properties"]["a"] == {
        "allOf": [{"type": "integer"}],
        "title": "A",
        "x-order": 0,
    }
    assert plain["Output"]["items"] == {"type": "number"}


def test_references_that_no_client_could_follow_stand_for_anything() -> None:
    takes = {
        "properties": {"a": {"$ref": "#/properties/b"}, "b": {"$ref": "#/$defs/not/there"}, "c": True},
        "$defs": {"not": {"there": {"type": "integer"}}},
    }
    for order, described in enumerate(components(takes)["Input"]["properties"].values()):
        assert described["x-order"] == order
        assert "$ref" not in json.dumps(described)


def test_a_chain_of_definitions_is_followed_as_far_as_clients_can() -> None:
    links: Schema = {f"d{n}": {"items": {"$ref": f"#/$defs/d{n + 1}"}} for n in range(2000)}
    schemas = components({"properties": {"a": {"$ref": "#/$defs/d0"}}, "$defs": links})
    assert sum(name.startswith("d") for name in schemas) == MAX_DEPTH


@pytest.mark.parametrize("info", registry.all(), ids=lambda info: info.name)
def test_every_type_is_told_in_words_that_openapi_3_0_has(info: Any) -> None:
    document = of_version(stored(info.name))
    schemas = document["components"]["schemas"]
    assert dereferenced(schemas, schemas)["Output"]["title"] == "Output"
    for part in walk(schemas):
        assert not isinstance(part.get("type"), list)
        assert part.get("type") != "null"
        assert not {"$defs", "const", "if", "prefixItems"} & part.keys()
        assert part.get("exclusiveMinimum") in (None, True)
    for name, field in schemas["Input"]["properties"].items():
        assert {"title", "x-order"} <= field.keys(), name
