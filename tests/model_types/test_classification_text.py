"""Classification of texts: labels in order, read as the model was trained to be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import AutoModelForSequenceClassification

from model_types import registry
from model_types.base import ModelType, ModelUnavailable, VersionSpec
from model_types.media.fields import InputFile
from tests.model_types import tiny_encoders
from tests.model_types.tiny_encoders import sentence

# Torch alone takes seconds to load.
pytestmark = pytest.mark.slow

LABELS = {0: "good", 1: "bad", 2: "ugly"}
NAMES: dict[str, Any] = {"id2label": LABELS, "label2id": {name: id for id, name in LABELS.items()}}
TEXT = sentence(9, seed=1)


def loaded(path: Path) -> ModelType:
    spec = VersionSpec("1", "a/b", "classification", "transformers", str(path), options={"threads": 1})
    engine = registry.engine(spec)
    engine.load(spec, "cpu")
    return engine


def classify(engine: ModelType, **request: Any) -> list[dict[str, Any]]:
    (output,) = engine.predict([engine.prepare({"text": TEXT, **request})])
    assert isinstance(output, list)
    return output


def logits_of(folder: Path, ids: list[int]) -> torch.Tensor:
    """What transformers itself computes for one text."""
    model: Any = AutoModelForSequenceClassification.from_pretrained(folder)
    with torch.inference_mode():
        logits: torch.Tensor = model(torch.tensor([ids])).logits[0]
    return logits


@pytest.mark.parametrize("kind", ["distilbert", "modernbert", "bert", "xlm-roberta"])
def test_labels_come_with_the_probabilities_of_the_model(tmp_path: Path, kind: str) -> None:
    tiny_encoders.build_classifier(tmp_path, kind, **NAMES)
    engine = loaded(tmp_path)
    probabilities = logits_of(tmp_path, engine.prepare({"text": TEXT}).features["input_ids"]).softmax(-1)
    expected = sorted(zip(probabilities.tolist(), LABELS.values(), strict=True), reverse=True)
    assert classify(engine) == [
        {"label": label, "score": pytest.approx(score, abs=1e-5)} for score, label in expected
    ]
    row = engine.prepare({"text": TEXT})
    assert engine.metrics(row) == {"input_token_count": len(row.features["input_ids"])}
    assert [one["label"] for one in classify(engine, top_k=2)] == [label for _, label in expected[:2]]


def test_labels_that_do_not_exclude_each_other_are_scored_each_for_itself(tmp_path: Path) -> None:
    tiny_encoders.build_classifier(tmp_path, problem_type="multi_label_classification", **NAMES)
    engine = loaded(tmp_path)
    logits = logits_of(tmp_path, engine.prepare({"text": TEXT}).features["input_ids"])
    scores = {one["label"]: one["score"] for one in classify(engine)}
    assert scores == pytest.approx(
        dict(zip(LABELS.values(), logits.sigmoid().tolist(), strict=True)), abs=1e-5
    )
    assert sum(scores.values()) != pytest.approx(1, abs=1e-3)


def test_an_image_is_refused_by_a_model_of_texts(tmp_path: Path) -> None:
    tiny_encoders.build_classifier(tmp_path)
    image = InputFile("x", content=Image.new("RGB", (8, 8)))
    with pytest.raises(ValueError, match="this model classifies texts: give it text instead of image"):
        loaded(tmp_path).prepare({"image": image})


@pytest.mark.parametrize(
    "request_", [{}, {"text": "a", "image": "b"}, {"text": ""}, {"text": "a", "top_k": 0}]
)
def test_a_request_that_makes_no_sense_is_refused(request_: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="Input"):
        registry.get("classification").Input.model_validate(request_)


def test_a_checkpoint_of_another_architecture_is_unavailable(tmp_path: Path) -> None:
    tiny_encoders.build_encoder(tmp_path)
    with pytest.raises(ModelUnavailable, match="names BertModel, and none of ForSequenceClassification"):
        loaded(tmp_path)
