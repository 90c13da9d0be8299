"""Embeddings: near in meaning is near in direction, and a card's poolings and prompts are honoured."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from transformers import AutoModel, AutoTokenizer

from examples.demo_models import minilm
from model_types import registry
from model_types.base import Failure, ModelUnavailable, VersionSpec
from model_types.embeddings.engine import Embedder, brief
from model_types.parts import PASSES_AHEAD, PartSession
from tests.model_types import tiny_encoders
from tests.model_types.tiny_encoders import sentence, write_card, write_json

# Torch alone takes seconds to load.
pytestmark = pytest.mark.slow

MEAN = {"pooling_mode_mean_tokens": True}
RAGGED = [sentence(words, seed=words) for words in (3, 40, 1, 12, 25)]


def loaded(path: Path | str, engine: str = "transformers", **options: Any) -> Embedder:
    """An engine that has loaded this folder."""
    spec = VersionSpec("1", "a/b", "embeddings", engine, str(path), options={"threads": 1, **options})
    embedder = registry.engine(spec)
    assert isinstance(embedder, Embedder)
    embedder.load(spec, "cpu")
    return embedder


def embed(engine: Embedder, text: Any, **request: Any) -> NDArray[np.float64]:
    (output,) = engine.predict([engine.prepare({"text": text, **request})])
    return np.array(output)


@pytest.fixture(scope="module")
def encoder() -> Iterator[Embedder]:
    """MiniLM, with its real weights."""
    engine = loaded(str(minilm.folder()))
    yield engine
    engine.unload()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tiny BERT without a card."""
    tiny_encoders.build_encoder(tmp_path)
    return tmp_path


def test_sentences_of_like_meaning_are_near_and_others_are_not(encoder: Embedder) -> None:
    vectors = embed(
        encoder,
        [
            "A man is eating his lunch.",
            "Someone has a midday meal.",
            "The parliament passed a law on fisheries.",
            "New rules for catching fish were voted for.",
        ],
    )
    nearness = vectors @ vectors.T
    assert nearness[0, 1] > 0.5
    assert nearness[2, 3] > 0.5
    assert nearness[:2, 2:].max() < 0.2


def test_both_engines_agree_on_short_and_long_texts(encoder: Embedder) -> None:
    texts = ["Hello!", "What is the use of a book without pictures? " * 5, "word " * 400]
    theirs = loaded(str(minilm.folder()), "sentence-transformers")
    assert embed(encoder, texts) == pytest.approx(embed(theirs, texts), abs=1e-5)
    request = {"normalize": False, "dimensions": 100, "prompt_name": "query"}
    assert embed(encoder, texts, **request) == pytest.approx(embed(theirs, texts, **request), abs=1e-5)


@pytest.mark.parametrize(
    "pooling",
    [
        {"pooling_mode_cls_token": True},
        {"pooling_mode_max_tokens": True},
        MEAN,
        {"pooling_mode_mean_sqrt_len_tokens": True},
        {"pooling_mode_weightedmean_tokens": True},
        {"pooling_mode_lasttoken": True},
        {"pooling_mode_lasttoken": True, "pooling_mode_cls_token": True, "pooling_mode_max_tokens": True},
        {"pooling_mode": ["mean", "max"], "embedding_dimension": 32},
    ],
    ids=lambda pooling: "+".join(name.removeprefix("pooling_mode_") for name in pooling),
)
def test_every_pooling_is_that_of_sentence_transformers(folder: Path, pooling: dict[str, Any]) -> None:
    write_card(folder, pooling)
    ours, theirs = loaded(folder), loaded(folder, "sentence-transformers")
    assert ours.dimensions == theirs.dimensions
    expected = embed(theirs, RAGGED, normalize=False)
    assert embed(ours, RAGGED, normalize=False) == pytest.approx(expected, abs=1e-5)


def test_dense_layers_follow_the_pooling_as_in_embeddinggemma(folder: Path) -> None:
    write_card(folder, MEAN, "2_Dense", "3_Dense", "4_Normalize")
    for name, wide, narrow, activation in (
        ("2_Dense", 32, 48, "torch.nn.modules.linear.Identity"),
        ("3_Dense", 48, 16, "torch.nn.modules.activation.Tanh"),
    ):
        write_json(
            folder / name / "config.json",
            {"in_features": wide, "out_features": narrow, "bias": False, "activation_function": activation},
        )
        save_file({"linear.weight": torch.randn(narrow, wide)}, folder / name / "model.safetensors")
    ours, theirs = loaded(folder), loaded(folder, "sentence-transformers")
    assert ours.dimensions == 16
    assert embed(ours, RAGGED) == pytest.approx(embed(theirs, RAGGED), abs=1e-5)


@pytest.mark.parametrize("kind", ["bert", "camembert", "distilbert", "roberta", "xlm-roberta", "modernbert"])
def test_a_row_among_others_is_what_the_model_makes_of_it_alone(tmp_path: Path, kind: str) -> None:
    tiny_encoders.build_encoder(tmp_path, kind)
    engine = loaded(tmp_path)
    assert engine.pads is (kind == "modernbert")
    model: Any = AutoModel.from_pretrained(tmp_path)
    request = engine.prepare({"text": RAGGED, "normalize": False})
    with torch.inference_mode():
        alone = [
            model(**{name: torch.tensor([ids]) for name, ids in row.items()}).last_hidden_state[0].mean(0)
            for row in request.rows
        ]
    (together,) = engine.predict([request])
    assert np.array(together) == pytest.approx(torch.stack(alone).numpy(), abs=1e-5)


def test_a_text_gets_a_vector_and_a_list_of_one_a_list(encoder: Embedder) -> None:
    assert embed(encoder, "Hello").shape == (384,)
    assert embed(encoder, ["Hello"]).shape == (1, 384)


def test_token_ids_stand_for_their_text_and_count_as_they_are(encoder: Embedder) -> None:
    texts = ["a cat", "What is the use of a book without pictures?"]
    tokenizer = AutoTokenizer.from_pretrained(str(minilm.folder()))
    ids = tokenizer(texts)["input_ids"]
    prepared = encoder.prepare({"text": ids})
    assert encoder.metrics(prepared) == {"input_token_count": len(ids[0]) + len(ids[1])}
    assert embed(encoder, ids) == pytest.approx(embed(encoder, texts), abs=1e-6)
    # One list of ids is one text. Nothing is put around it.
    assert embed(encoder, ids[0]) == pytest.approx(embed(encoder, texts[0]), abs=1e-6)
    assert embed(encoder, ids[0]) @ embed(encoder, ids[0][1:-1]) < 0.999


@pytest.mark.parametrize(
    ("text", "change", "words"),
    [
        ([5, 44], {}, "token 44 is not in this model's vocabulary, which ends at 42"),
        ([5] * 65, {}, "65 tokens are more than the 64 that this model can read"),
        ([[5]], {"prompt_name": "query"}, "before a text, not before token ids"),
    ],
)
def test_token_ids_that_the_model_cannot_read_are_refused(
    folder: Path, text: Any, change: dict[str, str], words: str
) -> None:
    engine = loaded(folder)
    with pytest.raises(ValueError, match=words):
        engine.prepare({"text": text, **change})
    assert embed(engine, [[42] * 64, [0]]).shape == (2, 32)


def test_an_engine_that_tokenises_by_itself_takes_no_ids() -> None:
    theirs = loaded(str(minilm.folder()), "sentence-transformers")
    with pytest.raises(ValueError, match="takes no token ids"):
        theirs.prepare({"text": [5]})


def test_vectors_have_length_one_unless_they_shall_not(folder: Path) -> None:
    write_card(folder, MEAN, "2_Normalize")
    engine = loaded(folder)
    assert np.linalg.norm(embed(engine, RAGGED), axis=1) == pytest.approx(1)
    raw = embed(engine, RAGGED, normalize=False)
    assert np.linalg.norm(raw, axis=1).min() > 2
    assert embed(engine, RAGGED) == pytest.approx(raw / np.linalg.norm(raw, axis=1, keepdims=True), abs=1e-6)


def test_a_shortened_vector_is_the_beginning_of_the_long_one(encoder: Embedder) -> None:
    long, short = embed(encoder, "Hello"), embed(encoder, "Hello", dimensions=64)
    assert short == pytest.approx(long[:64] / np.linalg.norm(long[:64]), abs=1e-6)


def test_more_dimensions_than_the_model_has_are_refused(encoder: Embedder) -> None:
    with pytest.raises(ValueError, match=r"input.dimensions: this model's vectors have 384 numbers"):
        encoder.prepare({"text": "Hello", "dimensions": 385})


def test_numbers_are_written_no_longer_than_a_float32_needs(encoder: Embedder) -> None:
    vector = embed(encoder, "Hello")
    digits = [repr(number).partition("e")[0].replace(".", "").strip("-0") for number in vector.tolist()]
    assert max(map(len, digits)) <= 9
    full = brief(vector.astype(np.float32))
    assert (full == vector).all()
    assert (full.astype(np.float32) == vector.astype(np.float32)).all()


def test_a_card_s_prompt_goes_before_the_text(folder: Path) -> None:
    prompts = {"query": "cat ", "weather": "snow "}
    write_card(folder, MEAN, prompts=prompts, default_prompt_name="weather")
    engine = loaded(folder)
    assert (
        embed(engine, "dog", prompt_name="query") == embed(engine, "cat dog", prompt_name="document")
    ).all()
    assert (embed(engine, "dog") == embed(engine, "snow dog", prompt_name="document")).all()
    with pytest.raises(
        ValueError, match=r"prompt_name: .*no prompt 'poem'; it has: document, query, weather"
    ):
        engine.prepare({"text": "dog", "prompt_name": "poem"})


def test_a_card_s_length_cuts_texts_off(folder: Path) -> None:
    write_card(folder, MEAN)
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 10, "do_lower_case": False})
    engine = loaded(folder)
    (row,) = engine.prepare({"text": RAGGED[1]}).rows
    assert len(row["input_ids"]) == 10
    assert row["input_ids"][-1] == 3  # the separator stays


def test_without_a_card_texts_are_cut_off_where_the_positions_end(tmp_path: Path) -> None:
    for kind in ("bert", "xlm-roberta"):
        tiny_encoders.build_encoder(tmp_path, kind)
        engine = loaded(tmp_path)
        assert engine.size(engine.prepare({"text": sentence(500, seed=1)}).rows[0]) == tiny_encoders.POSITIONS
        assert embed(engine, sentence(500, seed=1)).shape == (32,)


def test_a_card_that_asks_for_what_is_not_known_makes_the_version_unavailable(folder: Path) -> None:
    for pooling, module, reason in (
        ({**MEAN, "include_prompt": False}, "2_Normalize", "pools without its prompt"),
        ({"pooling_mode": "median"}, "2_Normalize", "pools by 'median'"),
        (MEAN, "2_LSTM", "Transformer → Pooling → LSTM"),
    ):
        write_card(folder, pooling, module)
        with pytest.raises(ModelUnavailable, match=f"{reason}.*the engine sentence-transformers may know it"):
            loaded(folder)


def test_a_dense_layer_that_is_a_pickle_is_not_read(folder: Path) -> None:
    write_card(folder, MEAN, "2_Dense")
    write_json(folder / "2_Dense" / "config.json", {"in_features": 32, "out_features": 8})
    torch.save({"linear.weight": torch.zeros(8, 32)}, folder / "2_Dense" / "pytorch_model.bin")
    with pytest.raises(ModelUnavailable, match=r"has no 2_Dense/model\.safetensors"):
        loaded(folder)


def session_of(engine: Embedder, **texts: str | list[str]) -> PartSession:
    session = engine.session()
    assert isinstance(session, PartSession)
    for key, text in texts.items():
        session.add(key, engine.prepare({"text": text}))
    return session


def test_texts_of_several_predictions_share_a_pass_up_to_its_tokens(folder: Path) -> None:
    engine = loaded(folder, pass_budget=100)
    session = session_of(engine, one=sentence(30, 1), many=[sentence(10, seed) for seed in range(20)])
    outcomes: dict[str, Any] = {}
    while len(session):
        outcomes |= session.step()
    assert set(outcomes) == {"one", "many"}
    passes = session.passes()
    assert sum(one.rows for one in passes) == 21
    # 30 and 10 words, each with two special tokens; as many as 100 tokens hold, and nothing is padded.
    assert [one.padded for one in passes] == [32 + 5 * 12, 8 * 12, 7 * 12]
    assert not any(one.waste for one in passes)


def test_a_short_text_does_not_wait_for_a_long_list(folder: Path) -> None:
    engine = loaded(folder, pass_budget=100)
    session = session_of(engine, many=[sentence(20, seed) for seed in range(40)])
    assert session.step() == {}
    assert session.progress() == {"many": pytest.approx(4 / 40)}
    session.add("late", engine.prepare({"text": "cat"}))
    steps = 1
    while "late" not in session.step():
        steps += 1
    assert steps <= PASSES_AHEAD + 1
    assert session.progress()["many"] < 0.7
    session.cancel("many")
    assert len(session) == 0
    assert session.step() == {}


def test_a_list_with_one_bad_row_fails_and_its_neighbours_do_not(folder: Path) -> None:
    engine = loaded(folder)
    session = session_of(engine, good=RAGGED[:2], bad=RAGGED, fine=RAGGED[0])
    session.add("worse", engine.prepare({"text": RAGGED[0]}))
    prepared = session._joining["bad"].prepared
    session.cancel("bad")
    broken = type(prepared)([*prepared.rows, {**prepared.rows[0], "input_ids": [9**9]}], None, True, True)
    session.add("broken", broken)
    outcomes: dict[str, Any] = {}
    while len(session):
        outcomes |= session.step()
    failure = outcomes.pop("broken")
    assert isinstance(failure, Failure)
    assert failure.code == "model_error"
    assert set(outcomes) == {"good", "fine", "worse"}
