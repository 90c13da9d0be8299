"""What operators allow of texts at most, whatever a request asks for."""

from __future__ import annotations

from typing import Any

import pytest

from examples.demo_models import RECITAL
from model_types import registry
from model_types.base import ModelType, VersionSpec

# Torch alone takes seconds to load.
pytestmark = pytest.mark.slow

PROMPT = "Alice was beginning"


def recital(**options: int) -> ModelType:
    spec = VersionSpec("v", "demo/recital", "text-generation", "transformers", str(RECITAL), options=options)
    model = registry.engine(spec)
    model.load(spec, "cpu")
    return model


def counts(model: ModelType, **request: Any) -> tuple[int, str]:
    """How many tokens it writes, and why it ends."""
    prepared = model.prepare({"prompt": PROMPT, "temperature": 0} | request)
    model.predict([prepared])
    metrics = model.metrics(prepared)
    return int(metrics["output_token_count"]), str(metrics["finish_reason"])


def test_a_text_ends_where_the_operator_says_and_tells_that_it_was_cut() -> None:
    model = recital(max_new_tokens=7)
    assert counts(model, max_new_tokens=50) == (7, "length")
    assert counts(model, max_length=len(PROMPT) + 50) == (7, "length")
    assert counts(model) == (7, "length")
    assert counts(model, max_new_tokens=3) == (3, "length")


def test_the_operator_says_how_long_a_text_is_where_nobody_else_does() -> None:
    model = recital(default_new_tokens=9)
    assert counts(model) == (9, "length")
    assert counts(model, max_new_tokens=20) == (20, "length")


def test_a_prompt_that_is_too_long_is_not_taken() -> None:
    model = recital(max_prompt_tokens=len(PROMPT))
    assert counts(model, max_new_tokens=1) == (1, "length")
    with pytest.raises(ValueError, match=f"has {len(PROMPT) + 1} tokens; this server takes {len(PROMPT)}"):
        model.prepare({"prompt": PROMPT + "."})
