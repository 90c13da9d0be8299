"""Logprobs: how likely each token of a text was, as the model itself has it."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from examples.demo_models import RECITAL
from model_types.text_generation.pieces import Likelihood, Piece, TokenLogprob
from model_types.text_generation.rows import Row
from model_types.text_generation.stopping import cut
from model_types.text_generation.telling import GrowingPieces
from model_types.text_generation.transformers import Transformers
from model_types.text_generation.vocabulary import Vocabulary
from tests.model_types.test_telling import END, decode

# Torch alone takes seconds to load.
pytestmark = pytest.mark.slow

PROMPT = "Alice was beginning"
SAMPLED: dict[str, Any] = {"prompt": "zz é", "temperature": 2, "seed": 3, "max_new_tokens": 12}


def pieces(engine: Transformers, *requests: dict[str, Any]) -> list[list[Piece]]:
    """What the engine writes for these in one pass."""
    outputs: Any = engine.predict([engine.prepare(request) for request in requests])
    return list(outputs)


def tokens(written: list[Piece]) -> list[TokenLogprob]:
    return [token for piece in written for token in piece.tokens]


def test_each_token_is_as_likely_as_the_model_says_whatever_the_temperature(recital: Transformers) -> None:
    model: Any = AutoModelForCausalLM.from_pretrained(RECITAL, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(RECITAL)
    asked = {**SAMPLED, "repetition_penalty": 1.3, "logprobs": 3}
    other = {"prompt": PROMPT, "max_new_tokens": 30, "temperature": 0, "logprobs": 0}
    written, beside = pieces(recital, asked, other)
    prompt: Any = tokenizer(SAMPLED["prompt"])["input_ids"]
    vocabulary = Vocabulary(tokenizer)
    ids = {vocabulary[id]: id for id in range(256)}
    drawn = [ids[bytes(token.bytes)] for token in tokens(written)]
    assert len(drawn) == 12
    with torch.inference_mode():
        scores = model(torch.tensor([prompt + drawn])).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
    expected = scores[range(12), drawn]
    assert [token.logprob for token in tokens(written)] == pytest.approx(expected.tolist(), abs=1e-4)
    for token, best in zip(tokens(written), scores.topk(3).values.tolist(), strict=True):
        assert [likeliest.logprob for likeliest in token.top_logprobs] == pytest.approx(best, abs=1e-4)
    assert all(token.top_logprobs == [] for token in tokens(beside))


def test_asking_changes_nothing_of_the_text(recital: Transformers) -> None:
    for request in (SAMPLED, {"prompt": PROMPT, "temperature": 0, "stop": ["very", "tire"]}):
        (text,) = recital.predict([recital.prepare(request)])
        (written,) = pieces(recital, {**request, "logprobs": 2})
        assert "".join(piece.text for piece in written) == text
        read = b"".join(bytes(token.bytes) for token in tokens(written))
        assert read.decode("utf-8", "replace") == text


def test_offsets_lead_to_the_tokens(recital: Transformers) -> None:
    (written,) = pieces(recital, {"prompt": PROMPT, "max_new_tokens": 20, "temperature": 0, "logprobs": 0})
    text = "".join(piece.text for piece in written)
    assert [text[token.offset] for token in tokens(written)] == [token.token for token in tokens(written)]


def test_what_is_told_meanwhile_begins_what_comes_in_the_end(recital: Transformers) -> None:
    session = recital.session()
    told: list[Piece] = []
    request = {"prompt": PROMPT, "temperature": 0, "max_new_tokens": 30, "logprobs": 1, "stop": "very"}
    session.add("a", recital.prepare(request))

    def hear(start: int, piece: Piece) -> None:
        assert start == len(told)
        told.append(piece)

    session.listen("a", hear)
    output: Any = session.step()["a"]
    assert len(told) > 5
    assert output[: len(told)] == told
    assert "".join(piece.text for piece in output) == " to get "


def grown(written: bytes, **fields: Any) -> tuple[list[Piece], str]:
    """The pieces of a row whose tokens are these bytes, and the text that they make."""
    row = Row([65], 10_000, logprobs=0, **fields)
    growing = GrowingPieces(row, decode, {END})
    for byte in written:
        named = Likelihood(token=chr(byte), logprob=0.0, bytes=[byte])
        growing.take(byte, TokenLogprob(**dict(named), offset=0, top_logprobs=[]))
    text = cut(written.partition(bytes([END]))[0].decode("utf-8", "replace"), row.stop)
    text = text.strip() if row.is_stripped else text
    return growing.whole(text), text


def test_whatever_is_written_the_pieces_are_the_text_and_the_tokens_are_its_bytes() -> None:
    draw = random.Random(1)
    for _ in range(300):
        written = "".join(draw.choices("ab é🐇\n", k=draw.randint(0, 30))).encode()
        stops = tuple("".join(draw.choices("ab ", k=draw.randint(1, 4))) for _ in range(draw.randint(0, 2)))
        made, text = grown(written, stop=stops)
        assert "".join(piece.text for piece in made) == text
        assert bytes(byte for token in tokens(made) for byte in token.bytes) == text.encode()
        stripped, text = grown(written, stop=stops, is_stripped=True)
        assert "".join(piece.text for piece in stripped) == text


def test_nothing_of_what_comes_after_the_end_counts() -> None:
    made, text = grown(b"tea" + bytes([END]) + b"!!")
    assert text == "tea"
    assert len(tokens(made)) == 3


def test_a_token_in_which_a_stop_string_begins_is_still_one_of_the_text() -> None:
    growing = GrowingPieces(Row([65], 10, logprobs=0, stop=("b",)), _words, set())
    for id, word in enumerate(WORDS):
        named = Likelihood(token=word, logprob=0.0, bytes=list(word.encode()))
        growing.take(id, TokenLogprob(**dict(named), offset=0, top_logprobs=[]))
    made = growing.whole("xa a")
    assert [(token.token, token.offset) for token in tokens(made)] == [("xa", 0), (" ab", 2)]


WORDS = ["xa", " ab", "c"]


def _words(ids: list[int]) -> str:
    return "".join(WORDS[id] if id < len(WORDS) else "P" for id in ids)


def test_tokens_of_sentencepiece_s_kind_are_bytes_too() -> None:
    named = {"<unk>": 0, "▁the": 1, "<0xE9>": 2, "x": 3}
    backend = Tokenizer(models.BPE(named, [], unk_token="<unk>", byte_fallback=True))
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>")
    vocabulary = Vocabulary(tokenizer)
    assert [vocabulary[id] for id in (1, 2, 3, 4)] == [b" the", b"\xe9", b"x", b"</s>"]
    assert vocabulary[1000] == b""


def test_pieces_are_json(recital: Transformers) -> None:
    (written,) = pieces(recital, {**SAMPLED, "logprobs": 20})
    json.dumps([piece.model_dump(mode="json") for piece in written], allow_nan=False)
    assert all(len(token.top_logprobs) == 20 for token in tokens(written))
