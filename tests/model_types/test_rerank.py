"""Reranking: a cross-encoder's scores, in order, as sentence-transformers would give them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sentence_transformers import CrossEncoder

from model_types import registry
from model_types.base import ModelType, ModelUnavailable, VersionSpec
from tests.model_types import tiny_encoders
from tests.model_types.tiny_encoders import sentence

# Torch alone takes seconds to load.
pytestmark = pytest.mark.slow

QUERY = "the cat sleeps"
DOCUMENTS = [sentence(words, seed=words) for words in (3, 40, 1, 12, 25, 90)]


def loaded(path: Path, **options: Any) -> ModelType:
    spec = VersionSpec("1", "a/b", "rerank", "transformers", str(path), options={"threads": 1, **options})
    engine = registry.engine(spec)
    engine.load(spec, "cpu")
    return engine


def rank(engine: ModelType, **request: Any) -> list[dict[str, Any]]:
    (output,) = engine.predict([engine.prepare({"query": QUERY, "documents": DOCUMENTS, **request})])
    assert isinstance(output, list)
    return output


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny_encoders.build_cross_encoder(tmp_path)
    return tmp_path


def name_activation(folder: Path, settings: dict[str, Any]) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | settings))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity"},
        {"sentence_transformers": {"activation_fn": "torch.nn.modules.activation.Tanh"}},
    ],
    ids=["sigmoid", "identity", "tanh"],
)
def test_scores_and_order_are_those_of_a_cross_encoder(folder: Path, settings: dict[str, Any]) -> None:
    name_activation(folder, settings)
    theirs = CrossEncoder(str(folder), device="cpu").predict([(QUERY, text) for text in DOCUMENTS])
    ranked = rank(loaded(folder))
    assert [one["index"] for one in ranked] == sorted(range(len(DOCUMENTS)), key=lambda index: -theirs[index])
    assert [one["relevance_score"] for one in ranked] == pytest.approx(sorted(theirs, reverse=True), abs=1e-5)
    assert len({round(one["relevance_score"], 4) for one in ranked}) == len(DOCUMENTS)


def test_top_n_gives_the_best_with_their_documents(folder: Path) -> None:
    engine = loaded(folder)
    best = rank(engine)[:2]
    documents = [{"text": text, "page": page} for page, text in enumerate(DOCUMENTS)]
    ranked = rank(engine, documents=documents, top_n=2, return_documents=True)
    assert ranked == [
        {**one, "relevance_score": pytest.approx(one["relevance_score"]), "document": documents[one["index"]]}
        for one in best
    ]
    (alone,) = rank(engine, documents=["bread"], return_documents=True)
    assert alone["document"] == {"text": "bread"}
    assert "document" not in best[0]


def test_a_budget_of_tokens_changes_the_passes_and_not_the_scores(folder: Path) -> None:
    ranked = rank(loaded(folder, pass_budget=70))
    whole = rank(loaded(folder))
    assert [one["index"] for one in ranked] == [one["index"] for one in whole]
    assert [one["relevance_score"] for one in ranked] == pytest.approx(
        [one["relevance_score"] for one in whole], abs=1e-5
    )


def test_a_classifier_of_several_labels_is_no_cross_encoder(tmp_path: Path) -> None:
    tiny_encoders.build_classifier(tmp_path, "bert", num_labels=3)
    with pytest.raises(ModelUnavailable, match="gives 3 scores to a pair"):
        loaded(tmp_path)


def test_an_activation_that_is_not_torch_s_is_not_run(folder: Path) -> None:
    name_activation(folder, {"sentence_transformers": {"activation_fn": "os.system"}})
    with pytest.raises(ModelUnavailable, match=r"the activation os\.system is none of torch's"):
        loaded(folder)


@pytest.mark.parametrize(
    "request_", [{"documents": []}, {"documents": [""]}, {"documents": [{"body": "a"}]}, {"top_n": 0}]
)
def test_a_request_that_makes_no_sense_is_refused(folder: Path, request_: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="Input"):
        loaded(folder).prepare({"query": QUERY, "documents": DOCUMENTS, **request_})
