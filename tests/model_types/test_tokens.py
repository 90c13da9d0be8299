"""Texts become the ids that their tokenizer's library gives them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig, AutoTokenizer

from model_types.tokens import Tokenizer
from tests.model_types import tiny_encoders

MAX_TOKENS = 12


@pytest.fixture(scope="module", params=["bert", "distilbert", "roberta"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp(request.param)
    tiny_encoders.build_encoder(path, request.param)
    return path


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        (tiny_encoders.sentence(4, seed=1), None),
        (tiny_encoders.sentence(40, seed=2), None),
        (tiny_encoders.sentence(3, seed=3), tiny_encoders.sentence(4, seed=4)),
        (tiny_encoders.sentence(3, seed=5), tiny_encoders.sentence(40, seed=6)),
        ("unheard-of wörds", None),
    ],
)
def test_ids_are_those_of_the_library(folder: Path, text: str, pair: str | None) -> None:
    library: Any = AutoTokenizer.from_pretrained(folder)
    expected = library(text, pair, truncation=True, max_length=MAX_TOKENS, return_attention_mask=False)
    ours = Tokenizer(
        AutoTokenizer.from_pretrained(folder), AutoConfig.from_pretrained(folder), max_tokens=MAX_TOKENS
    )
    assert ours(text, pair) == dict(expected)
    assert len(ours(text, pair)["input_ids"]) <= MAX_TOKENS
