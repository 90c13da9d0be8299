"""Embeddings, reranking and classification of texts through the whole platform."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cli.client import Client
from examples.demo_models import minilm
from tests.model_types import tiny_encoders
from tests.model_types.pictures import data_uri
from tests.stack import Stack

pytestmark = pytest.mark.slow

POOLS = ("embeddings", "rerank", "classification")
SENTENCES = [
    "A man is eating his lunch.",
    "Someone has a midday meal.",
    "Parliament passed a law on fisheries.",
]


def add(client: Client, model_type: str, path: Path | None) -> str:
    model = client.add_model(
        {"owner": "test", "name": model_type, "model_type": model_type, "model_path": str(path)}
    )
    return f"{model['owner']}/{model['name']}"


def ask(client: Client, model: str, **value: Any) -> dict[str, Any]:
    return client.predict(model, value, wait_seconds=60)


def test_texts_are_embedded_reranked_and_classified_by_one_lane(stack: Stack, tmp_path: Path) -> None:
    cross_encoder, classifier = tmp_path / "cross-encoder", tmp_path / "classifier"
    tiny_encoders.build_cross_encoder(cross_encoder)
    tiny_encoders.build_classifier(classifier)
    stack.start(pools=POOLS)
    with stack.client() as client:
        encoder = add(client, "embeddings", minilm.folder())
        reranker = add(client, "rerank", cross_encoder)
        labeller = add(client, "classification", classifier)

        embedded = ask(client, encoder, text=SENTENCES)
        single = ask(client, encoder, text=SENTENCES[0])["output"]
        reranked = ask(client, reranker, query="the cat", documents=["a dog", "a fish sings"], top_n=1)
        labelled = ask(client, labeller, text="the cat sleeps", top_k=1)
        refused = ask(client, encoder, text="Hello", dimensions=1000)
        misplaced = ask(client, labeller, image=data_uri(Image.new("RGB", (8, 8))))

    listed, ranked, labels = embedded["output"], reranked["output"], labelled["output"]
    # Two tokens begin and end each text, a third one stands between query and document.
    words = len(" ".join(SENTENCES).replace(".", " .").split())
    assert embedded["metrics"]["input_token_count"] == words + 2 * len(SENTENCES)
    assert reranked["metrics"]["input_token_count"] == (2 + 2 + 3) + (2 + 3 + 3)
    assert labelled["metrics"]["input_token_count"] == 3 + 2
    vectors = np.array(listed)
    nearness = vectors @ vectors.T
    assert nearness[0, 1] > 0.5 > nearness[0, 2]
    assert single == pytest.approx(listed[0], abs=1e-5)
    assert len(ranked) == 1
    assert 0 < ranked[0]["relevance_score"] < 1
    assert [label["label"] for label in labels] in (["LABEL_0"], ["LABEL_1"])
    assert refused["status"] == "failed"
    assert refused["error"].startswith("input.dimensions: this model's vectors have 384 numbers")
    assert misplaced["error"] == "this model classifies texts: give it text instead of image"
