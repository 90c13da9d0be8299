"""The shipped reader of digits, through the classification of images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest
from PIL import Image

from examples.demo_models import DIGITS
from model_types import registry
from model_types.base import ModelType
from model_types.classification.schema import Input
from model_types.media import InputFile
from tests.model_types.cases import IMAGE_CLASSIFICATION

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def reader() -> Iterator[ModelType]:
    engine = registry.engine(IMAGE_CLASSIFICATION.spec)
    engine.load(IMAGE_CLASSIFICATION.spec, "cpu")
    yield engine
    engine.unload()


def read(reader: ModelType, *images: Image.Image, top_k: int = 5) -> list[list[dict[str, Any]]]:
    """The labels of each image, the likeliest first."""
    files = [InputFile("digit", "image", content=image.convert("RGB")) for image in images]
    outputs = reader.predict([reader.prepare(Input(image=file, top_k=top_k)) for file in files])
    return cast(list[list[dict[str, Any]]], list(outputs))


def test_each_digit_that_it_has_not_seen_is_read(reader: ModelType) -> None:
    labels = read(reader, *[Image.open(DIGITS / "samples" / f"{digit}.png") for digit in range(10)])
    assert [likeliest["label"] for likeliest, *_ in labels] == [str(digit) for digit in range(10)]
    assert all(likeliest["score"] > 0.9 for likeliest, *_ in labels)


def test_a_large_photo_of_a_digit_is_read_as_well(reader: ModelType) -> None:
    with Image.open(DIGITS / "samples" / "3.png") as small:
        (labels,) = read(reader, small.resize((1024, 1024), Image.Resampling.BICUBIC), top_k=1)
    assert [one["label"] for one in labels] == ["3"]


def test_the_scores_of_all_labels_add_up_to_one(reader: ModelType) -> None:
    with Image.open(DIGITS / "samples" / "0.png") as image:
        (labels,) = read(reader, image, top_k=1000)
    assert sorted(one["label"] for one in labels) == [str(digit) for digit in range(10)]
    assert sum(one["score"] for one in labels) == pytest.approx(1)


def test_a_text_is_not_for_a_model_of_images(reader: ModelType) -> None:
    with pytest.raises(ValueError, match="give it `image` instead of `text`"):
        reader.prepare(Input(text="seven"))
