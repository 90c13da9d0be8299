"""What an operator allows at most, in schemas of all kinds."""

from __future__ import annotations

from typing import Any

import pytest

from api.services.input_caps import UNCAPPED, InputCaps
from api.services.input_schema import normalise
from model_types import registry

TEXT = {"type": "string"}


def narrowed(caps: InputCaps, properties: dict[str, Any], model_type: str = "embeddings") -> dict[str, Any]:
    """A version's properties under these caps, which leave its own schema alone."""
    info = registry.get(model_type)
    schema = normalise({"type": "object", "properties": properties, "required": list(properties)}, info)
    before = repr(schema)
    found = caps.narrowed(schema, info)["properties"]
    assert repr(schema) == before
    return dict(found)


@pytest.mark.parametrize("model_type", registry.names())
def test_every_type_can_be_capped_and_is_left_alone_where_nothing_is_set(model_type: str) -> None:
    info = registry.get(model_type)
    schema = info.input_schema()
    assert UNCAPPED.narrowed(schema, info) is schema
    normalise(InputCaps(text_chars=100, texts=3).narrowed(schema, info), info)


def test_an_authors_schema_may_be_narrower_and_is_never_widened() -> None:
    caps = InputCaps(text_chars=10, texts=3)
    assert narrowed(caps, {"text": TEXT | {"maxLength": 5}})["text"]["maxLength"] == 5
    assert narrowed(caps, {"text": TEXT | {"maxLength": 50}})["text"]["maxLength"] == 10
    assert narrowed(caps, {"text": {"type": "array", "maxItems": 2}})["text"]["maxItems"] == 2
    assert narrowed(caps, {"text": {"type": "array"}})["text"]["maxItems"] == 3


def test_a_list_of_numbers_is_one_text_and_a_choice_of_words_is_none() -> None:
    caps = InputCaps(text_chars=1, texts=3)
    ids = {"type": "array", "items": {"type": "integer"}}
    lists = {"type": "array", "items": ids}
    told = narrowed(caps, {"text": {"anyOf": [ids, lists]}, "prompt_name": TEXT | {"enum": ["query"]}})
    one, many = told["text"]["anyOf"]
    assert "maxItems" not in one
    assert many["maxItems"] == 3
    assert "maxLength" not in told["prompt_name"]


def test_what_names_a_file_is_no_text_however_its_author_describes_it() -> None:
    told = narrowed(InputCaps(text_chars=10), {"image": {"type": "string"}, "prompt": TEXT}, "image-to-text")
    assert "maxLength" not in told["image"]
    assert told["prompt"]["maxLength"] == 10
