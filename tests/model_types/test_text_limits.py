"""What operators allow of texts at most, whatever a request asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from examples.demo_models import RECITAL
from model_types import registry
from model_types.base import ModelType, VersionSpec
from model_types.media import InputFile
from tests.model_types.seeing_models import build_blip_caption

# Torch alone takes seconds to load.
pytestmark = pytest.mark.slow

PROMPT = "Alice was beginning"


def loaded(model_type: str, path: Path, **options: int) -> ModelType:
    spec = VersionSpec("v", "a/b", model_type, "transformers", str(path), options=options)
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
    model = loaded("text-generation", RECITAL, max_new_tokens=7)
    assert counts(model, max_new_tokens=50) == (7, "length")
    assert counts(model, max_length=len(PROMPT) + 50) == (7, "length")
    assert counts(model) == (7, "length")
    assert counts(model, max_new_tokens=3) == (3, "length")


def test_the_operator_says_how_long_a_text_is_where_nobody_else_does() -> None:
    model = loaded("text-generation", RECITAL, default_new_tokens=9)
    assert counts(model) == (9, "length")
    assert counts(model, max_new_tokens=20) == (20, "length")


def test_a_prompt_that_is_too_long_is_not_taken() -> None:
    model = loaded("text-generation", RECITAL, max_prompt_tokens=len(PROMPT))
    assert counts(model, max_new_tokens=1) == (1, "length")
    with pytest.raises(ValueError, match=f"has {len(PROMPT) + 1} tokens; this server takes {len(PROMPT)}"):
        model.prepare({"prompt": PROMPT + "."})


def test_a_text_about_an_image_ends_there_too(tmp_path: Path) -> None:
    build_blip_caption(tmp_path)
    model = loaded("image-to-text", tmp_path, max_new_tokens=2)
    image = InputFile("image", content=Image.new("RGB", (32, 32), "red"))
    for asked in (1, 8):
        prepared = model.prepare({"image": image, "max_new_tokens": asked})
        model.predict([prepared])
        assert model.metrics(prepared)["output_token_count"] == min(asked, 2)
