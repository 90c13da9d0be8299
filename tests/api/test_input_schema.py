"""Input schemas: what versions may ask for, and what becomes of inputs that do not fit."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field

from api.errors import Invalid
from api.services.input_schema import InputValidator, normalise
from model_types import echo, text_generation
from model_types.base import TypeInfo

TEXT = text_generation.INFO
BARE = {
    "prompt": {"type": "string", "maxLength": 20},
    "max_length": {"type": "integer", "default": 100, "minimum": 1, "maximum": 1000},
}


class Style(BaseModel):
    model_config = ConfigDict(extra="forbid")

    colour: str = "red"
    width: int | None = None


class Drawing(BaseModel):
    style: Style = Field(default_factory=Style)
    layers: list[dict[str, Any]] = Field(default_factory=list)
    day: str | None = None


DRAWING = TypeInfo("drawing", "Draws.", Drawing, str, {"pen": "x:Pen"}, "pen")


def fields_of(error: pytest.ExceptionInfo[Invalid]) -> list[str]:
    return [field for field, _ in error.value.errors]


def test_without_a_schema_it_is_the_model_types_own() -> None:
    assert normalise(None, TEXT) == TEXT.input_schema()
    assert normalise({}, echo.INFO) == echo.INFO.input_schema()


def test_a_bare_map_requires_what_has_no_default_unless_it_says_otherwise() -> None:
    schema = normalise(
        {
            "text": {"type": "string"},
            "sleep": {"type": "number", "default": 0},
            "steps": {"type": "integer", "required": False},
            "fail": {"type": "string", "optional": True},
            "crash": {"type": "boolean", "default": False, "required": True},
        },
        echo.INFO,
    )
    assert schema["required"] == ["text", "crash"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["steps"] == {"type": "integer"}
    assert schema["properties"]["fail"] == {"type": "string"}


def test_a_json_schema_is_taken_as_it_is() -> None:
    given = {"type": "object", "properties": {"text": {"type": "string"}}, "required": []}
    assert normalise(given, echo.INFO) == {**given, "additionalProperties": False}
    assert normalise({"properties": given["properties"]}, echo.INFO)["type"] == "object"
    open_one = {**given, "additionalProperties": {"type": "integer"}}
    assert normalise(open_one, echo.INFO) == open_one


def test_properties_may_be_called_like_keywords() -> None:
    class Input(BaseModel):
        type: str
        properties: str

    info = TypeInfo("odd", "Odd.", Input, str, {"e": "x:E"}, "e")
    schema = normalise({"type": {"type": "string"}, "properties": {"type": "string"}}, info)
    assert set(schema["properties"]) == {"type", "properties"}


@pytest.mark.parametrize(
    ("schema", "field"),
    [
        ({"text": {"type": "txt"}}, "input_schema.text.type"),
        ({"text": {"pattern": "("}}, "input_schema.text.pattern"),
        ({"text": {"type": "string"}, "volume": {}}, "input_schema.volume"),
        ({"sleep": {"type": "number"}}, "input_schema.text"),
        ({"text": "string"}, "input_schema.text"),
        ({"type": "array"}, "input_schema.type"),
        ({"text": {"$ref": "http://127.0.0.1:9/x.json"}}, "input_schema"),
        ({"text": {"$ref": "file:///etc/passwd"}}, "input_schema"),
        ({"text": {"$ref": "#/$defs/missing"}}, "input_schema"),
        (
            {"text": {"type": "string"}, "steps": {"type": "integer", "default": "x"}},
            "input_schema.steps.default",
        ),
        ({"text": {"type": "string", "maximum": 3, "default": 7}}, "input_schema.text.default"),
        ({"text": {"description": "x" * 70_000}}, "input_schema"),
        # Look-around needs backtracking, which takes exponential time on some inputs.
        ({"text": {"type": "string", "pattern": "(?=a)b"}}, "input_schema.text.pattern"),
    ],
)
def test_a_broken_schema_is_refused_at_registration(schema: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as refusal:
        normalise(schema, echo.INFO)
    assert fields_of(refusal) == [field]


def test_defaults_apply_and_the_input_given_is_left_alone() -> None:
    validator = InputValidator(normalise(BARE, TEXT), TEXT)
    given = {"prompt": "Once"}
    assert validator.validate(given) == {"prompt": "Once", "max_length": 100}
    assert given == {"prompt": "Once"}
    assert validator.validate({"prompt": "Once", "max_length": 50}) == {"prompt": "Once", "max_length": 50}


def test_defaults_apply_in_nested_objects_too_and_are_never_shared() -> None:
    schema = {
        "type": "object",
        "properties": {
            "style": {"$ref": "#/$defs/style"},
            "layers": {"type": "array", "default": [{}]},
        },
        "$defs": {
            "style": {
                "type": "object",
                "properties": {
                    "colour": {"type": "string", "default": "blue"},
                    "width": {"type": ["integer", "null"], "default": None},
                },
            }
        },
    }
    validator = InputValidator(normalise(schema, DRAWING), DRAWING)
    assert validator.validate({"style": {}}) == {"style": {"colour": "blue"}, "layers": [{}]}
    assert "style" not in validator.validate({})
    validator.validate({})["layers"].append("spoilt")
    assert validator.validate({})["layers"] == [{}]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({}, {"input.prompt": "is required"}),
        ({"prompt": 7}, {"input.prompt": 'is not of type "string"'}),
        ({"prompt": "x" * 21}, {"input.prompt": "is longer than 20 characters"}),
        ({"prompt": "a", "max_length": 1001}, {"input.max_length": "is greater than the maximum of 1000"}),
        ({"prompt": "a", "max_length": "50"}, {"input.max_length": 'is not of type "integer"'}),
        ({"prompt": "a", "max_length": True}, {"input.max_length": 'is not of type "integer"'}),
        ({"prompt": "a", "seed": 1}, {"input.seed": "is not a known field"}),
        (
            {"max_length": 0},
            {"input.prompt": "is required", "input.max_length": "is less than the minimum of 1"},
        ),
    ],
)
def test_an_input_that_does_not_fit_its_version_names_each_field(
    value: dict[str, Any], expected: dict[str, str]
) -> None:
    validator = InputValidator(normalise(BARE, TEXT), TEXT)
    with pytest.raises(Invalid) as refusal:
        validator.validate(value)
    assert dict(refusal.value.errors) == expected


@pytest.mark.parametrize(
    ("value", "field", "message"),
    [
        ({}, "input", "give exactly one of prompt and messages"),
        ({"prompt": "a", "messages": []}, "input.messages", "should have at least 1 item"),
        ({"prompt": "a", "temperature": 3}, "input.temperature", "should be less than or equal to 2"),
        ({"prompt": "a", "max_new_tokens": "8"}, "input.max_new_tokens", "should be a valid integer"),
        ({"prompt": "a", "volume": 11}, "input.volume", "is not a known field"),
        ({"messages": [{"role": "king", "content": "x"}]}, "input.messages.0.role", "should be 'system'"),
        ({"prompt": "a", "max_new_tokens": 1, "max_length": 9}, "input", "at most one"),
        ({"prompt": "\ud800"}, "input.prompt", "unicode"),
        ({"prompt": "a", "temperature": float("nan")}, "input.temperature", ""),
    ],
)
def test_an_input_that_does_not_fit_its_model_type_names_the_field_in_plain_words(
    value: dict[str, Any], field: str, message: str
) -> None:
    validator = InputValidator(normalise(None, TEXT), TEXT)
    with pytest.raises(Invalid) as refusal:
        validator.validate(value)
    named, said = refusal.value.errors[0]
    assert named.startswith(field)
    assert message in said


def test_a_version_may_be_narrower_than_its_type_but_not_wider() -> None:
    wide = {"prompt": {"type": "string"}, "temperature": {"type": "number"}}
    validator = InputValidator(normalise(wide, TEXT), TEXT)
    with pytest.raises(Invalid) as refusal:
        validator.validate({"prompt": "a", "temperature": 99})
    assert fields_of(refusal) == ["input.temperature"]


def test_formats_are_checked() -> None:
    validator = InputValidator(normalise({"day": {"type": "string", "format": "date"}}, DRAWING), DRAWING)
    assert validator.validate({"day": "2026-02-28"})
    with pytest.raises(Invalid) as refusal:
        validator.validate({"day": "2026-02-30"})
    assert fields_of(refusal) == ["input.day"]


@pytest.mark.slow
def test_an_input_without_end_is_refused() -> None:
    validator = InputValidator(normalise(None, DRAWING), DRAWING)
    deep: dict[str, Any] = {}
    for _ in range(100_000):
        deep = {"x": deep}
    with pytest.raises(Invalid):
        validator.validate({"layers": [deep]})


def test_the_values_of_an_input_do_not_come_back_in_errors() -> None:
    validator = InputValidator(normalise(BARE, TEXT), TEXT)
    with pytest.raises(Invalid) as refusal:
        validator.validate({"prompt": "the secret word of the house"})
    assert "secret" not in str(refusal.value)


def test_the_cost_comes_with_the_examination() -> None:
    validator = InputValidator(normalise(None, TEXT), TEXT)
    assert validator.examine({"prompt": "x" * 40, "max_new_tokens": 7}).cost == 17
