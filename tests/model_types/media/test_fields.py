"""Fields that name files: how they are written in JSON, and how they are found in an input."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, Field, ValidationError

from model_types.media import (
    AudioInput,
    ImageInput,
    InputFile,
    MaskInput,
    files_described,
    files_in,
    takes_files,
)


class Message(BaseModel):
    """A part of a conversation."""

    text: str
    image: ImageInput | None = None


class Input(BaseModel):
    """Files at every depth that inputs have."""

    prompt: str
    mask: MaskInput | None = None
    sounds: list[AudioInput] = []
    messages: list[Message] = []
    named: dict[str, ImageInput] = {}
    picture: ImageInput | None = Field(None, alias="the-picture")


JSON = {
    "prompt": "https://example.com/not-a-file.png",
    "mask": "m",
    "sounds": ["s0", "s1"],
    "messages": [{"text": "hello"}, {"text": "look", "image": "i"}],
    "the-picture": "p",
}
FOUND = {
    "mask": InputFile("m", "mask"),
    "sounds.0": InputFile("s0", "audio"),
    "sounds.1": InputFile("s1", "audio"),
    "messages.1.image": InputFile("i"),
    "the-picture": InputFile("p"),
}


def test_files_are_found_wherever_they_are() -> None:
    found = files_in(Input.model_validate(JSON | {"named": {"a": "n"}}))
    assert {".".join(path): file for path, file in found} == FOUND | {"named.a": InputFile("n")}


def test_files_are_found_by_the_schema_as_well() -> None:
    found = files_described(Input.model_json_schema(), JSON)
    assert {".".join(path): file for path, file in found} == FOUND


def test_a_schema_that_describes_itself_comes_to_an_end() -> None:
    tree = {
        "anyOf": [
            {"$ref": "#/$defs/tree"},
            {"type": "string", "x-media": "image"},
            {"type": "array", "items": {"$ref": "#/$defs/tree"}},
        ]
    }
    schema = {"properties": {"tree": {"$ref": "#/$defs/tree"}}, "$defs": {"tree": tree}}
    found = files_described(schema, {"tree": ["a", ["b"]]})
    assert [(".".join(path), file.reference) for path, file in found] == [("tree.0", "a"), ("tree.1.0", "b")]


def test_what_takes_no_file_is_known_beforehand() -> None:
    class Plain(BaseModel):
        image: str

    assert takes_files(Input)
    assert not takes_files(Plain)


def test_a_file_is_text_in_json() -> None:
    value = Input.model_validate(JSON)
    assert value.model_dump(mode="json", by_alias=True, exclude_defaults=True) == JSON
    with pytest.raises(ValidationError):
        Input.model_validate({"prompt": "", "mask": 1})
    with pytest.raises(ValidationError):
        Input.model_validate({"prompt": "", "mask": ""})
