"""Texts that are to fit a JSON Schema: whatever the model would like to write, they do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from llguidance import LLMatcher, LLParserLimits
from pydantic import ValidationError

from model_types.base import Failure
from model_types.text_generation.schema import Input
from model_types.text_generation.transformers import Transformers
from tests.model_types import seeing_models
from tests.model_types.test_image_to_text import RED, asked, built

# Torch alone takes seconds to load.
pytestmark = pytest.mark.slow

PERSON: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 3},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "is_tired": {"type": "boolean"},
        "likes": {"type": "array", "items": {"$ref": "#/$defs/animal"}, "minItems": 1, "maxItems": 2},
    },
    "required": ["name", "age", "is_tired", "likes"],
    "additionalProperties": False,
    "$defs": {"animal": {"enum": ["rabbit", "cat"]}},
}
PROMPT = "Alice was beginning"


def request(seed: int, **fields: Any) -> dict[str, Any]:
    """A wild request, which would make noise of the text."""
    return {"prompt": PROMPT, "temperature": 2, "seed": seed, "max_new_tokens": 300, **fields}


def test_what_is_written_fits_the_schema(recital: Transformers) -> None:
    greedy = request(0, temperature=0, json_schema=PERSON)
    rows = [recital.prepare(request(seed, json_schema=PERSON)) for seed in range(3)]
    rows += [recital.prepare(greedy), recital.prepare({**greedy, "repetition_penalty": 1.5, "top_k": 40})]
    validator = jsonschema_rs.Draft202012Validator(PERSON)
    texts = list(recital.predict(rows))
    for row, text in zip(rows, texts, strict=True):
        assert isinstance(text, str)
        validator.validate(json.loads(text))
        assert row.finish_reason == "stop"
    assert len(set(texts)) > 3


def test_rows_of_many_kinds_share_a_pass_and_change_nothing_of_each_other(recital: Transformers) -> None:
    requests = [
        request(
            1,
            json_schema={"type": "object", "properties": {"a": {"type": "null"}}, "required": ["a"]},
            max_new_tokens=60,
        ),
        request(2, max_new_tokens=40),
        request(3, json_schema={"enum": ["yes", "no"]}, logprobs=2),
        request(4, json_schema={"type": "array", "items": {"enum": [1, 2]}, "maxItems": 3}, stop="]"),
        {"prompt": PROMPT, "temperature": 0, "max_new_tokens": 30},
    ]
    apart = [recital.predict([recital.prepare(each)])[0] for each in requests]
    together = list(recital.predict([recital.prepare(each) for each in requests]))
    chosen: Any = apart.pop(2)
    beside: Any = together.pop(2)
    assert together == apart
    assert [piece.text for piece in beside] == [piece.text for piece in chosen]
    assert "".join(piece.text for piece in chosen) in ('"yes"', '"no"')
    # The model itself would never have said so.
    assert sum(token.logprob for piece in chosen for token in piece.tokens) < -5


def test_the_same_row_may_run_again(recital: Transformers) -> None:
    row = recital.prepare(request(1, json_schema={"enum": ["yes", "no"]}))
    first = recital.predict([row])
    assert list(recital.predict([row])) == list(first)


def test_a_text_that_reaches_its_limit_breaks_off(recital: Transformers) -> None:
    fields: dict[str, Any] = {"json_schema": {"const": "a long tail"}}
    row, whole = (
        recital.prepare(request(1, **fields, max_new_tokens=10)),
        recital.prepare(request(1, **fields)),
    )
    begun, text = recital.predict([row, whole])
    assert isinstance(text, str)
    assert text.startswith(str(begun))
    assert (row.finish_reason, len(str(begun))) == ("length", 10)


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"type": "array", "uniqueItems": True}, "uniqueItems"),
        ({"type": "integer", "minimum": 5, "maximum": 3}, "Unsatisfiable"),
        ({"not": {"type": "string"}}, "not"),
    ],
)
def test_a_schema_that_no_text_can_be_held_to_is_refused(
    recital: Transformers, schema: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ValueError, match=f"no text can be held to this json_schema: .*{reason}"):
        recital.prepare(request(1, json_schema=schema))


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"type": "strng"}, "is no JSON Schema at type"),
        ({"$ref": "http://127.0.0.1:1/schema"}, "is no JSON Schema: .*Retrieval is disabled"),
        ({"description": "x" * 70_000}, "is longer than 65536 bytes"),
        ([], "valid dictionary"),
    ],
)
def test_what_is_no_schema_is_refused_before_it_reaches_a_lane(schema: Any, reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        Input.model_validate(request(1, json_schema=schema))


def test_a_grammar_that_takes_too_much_to_follow_fails_its_row_alone(recital: Transformers) -> None:
    grammar = LLMatcher.grammar_from_json_schema({"type": "string", "pattern": "^(a|b|c){3,50}x$"})
    rows = [recital.prepare({"prompt": PROMPT, "temperature": 0, "max_new_tokens": 20}) for _ in range(2)]
    tokenizer = recital._writer._grammars._tokenizer
    rows[0].grammar = LLMatcher(
        tokenizer, grammar, log_level=0, limits=LLParserLimits(step_lexer_fuel=1, verbose_errors=False)
    )
    failed, text = recital.predict(rows)
    assert isinstance(failed, Failure)
    assert failed.code == "invalid_input"
    assert text == " to get very tired of"[:20]


def test_a_model_without_an_end_or_of_whole_words_cannot_be_held_to_a_schema(
    recital: Transformers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recital._writer._grammars, "end_ids", [])
    recital._writer._grammars.__dict__.pop("_tokenizer", None)
    with pytest.raises(ValueError, match="no token that ends a text"):
        recital.prepare(request(1, json_schema=PERSON))
    with (
        built(seeing_models.build_qwen3_vl, tmp_path) as words,
        pytest.raises(ValueError, match="tokenizer cannot be held to a json_schema"),
    ):
        words.prepare(asked(RED, json_schema=PERSON))
