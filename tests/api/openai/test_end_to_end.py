"""OpenAI's client at the whole platform, with models that write, embed, rerank and look."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest
from openai import OpenAI
from PIL import Image
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from examples.demo_models import minilm
from tests.model_types import seeing_models, tiny_encoders
from tests.model_types.pictures import data_uri
from tests.stack import Stack

pytestmark = pytest.mark.slow

RECITAL = Path(__file__).parents[3] / "examples/demo_models/recital"
PROMPT = "Alice was beginning to get very"
SENTENCES = ["A man is eating his lunch.", "Someone has a midday meal.", "Parliament passed a law."]


@pytest.fixture
def models(stack: Stack, tmp_path: Path) -> Stack:
    """A running stack with recital, the same with a chat template, MiniLM, and two random models."""
    talker, reranker, viewer = tmp_path / "talker", tmp_path / "reranker", tmp_path / "viewer"
    shutil.copytree(RECITAL, talker)
    (talker / "chat_template.jinja").write_text("{% for turn in messages %}{{ turn.content }}{% endfor %}")
    tiny_encoders.build_cross_encoder(reranker)
    seeing_models.build_qwen3_vl(viewer)
    folders = {
        "recital": ("text-generation", RECITAL),
        "talker": ("text-generation", talker),
        "minilm": ("embeddings", minilm.folder()),
        "reranker": ("rerank", reranker),
        "viewer": ("image-to-text", viewer),
    }
    stack.start(pools=sorted({model_type for model_type, _ in folders.values()}))
    with stack.client() as client:
        for name, (model_type, folder) in folders.items():
            client.add_model(
                {"owner": "test", "name": name, "model_type": model_type, "model_path": str(folder)}
            )
    return stack


def test_the_official_client_writes_chats_embeds_and_reranks(models: Stack) -> None:
    with OpenAI(base_url=f"{models.url}/v1", api_key=models.token(), max_retries=0, timeout=60) as client:
        text = _continues(client)
        _chats(client, text)
        _keeps_to_a_schema(client)
        _looks(client)
        _embeds(client)
    body = {"model": "test/reranker", "query": "the cat", "documents": ["a dog", "a fish"], "top_n": 1}
    headers = {"Authorization": f"Bearer {models.token()}"}
    ranked = httpx.post(f"{models.url}/rerank", json=body, headers=headers, timeout=60).json()
    assert 0 < ranked["results"][0]["relevance_score"] < 1
    assert ranked["usage"]["total_tokens"] > 0


def _continues(client: OpenAI) -> str:
    """Eight tokens after the prompt, whole and in pieces; what a stop string leaves of them."""
    whole = client.completions.create(model="test/recital", prompt=PROMPT, max_tokens=8, temperature=0)
    text = whole.choices[0].text
    tokens = len(Tokenizer.from_file(str(RECITAL / "tokenizer.json")).encode(PROMPT).ids)
    assert text.startswith(" tired")
    assert whole.choices[0].finish_reason == "length"
    assert whole.usage is not None
    assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (tokens, 8)
    pieces = [
        chunk.choices[0]
        for chunk in client.completions.create(
            model="test/recital", prompt=PROMPT, max_tokens=8, temperature=0, stream=True
        )
    ]
    assert "".join(piece.text for piece in pieces) == text
    assert pieces[-1].finish_reason == "length"
    cut = client.completions.create(
        model="test/recital", prompt=PROMPT, max_tokens=8, temperature=0, stop=[text[3:6]]
    )
    assert (cut.choices[0].text, cut.choices[0].finish_reason) == (text[:3], "stop")
    told = [
        chunk.choices[0]
        for chunk in client.completions.create(
            model="test/recital", prompt=PROMPT, max_tokens=8, temperature=0, stop=[text[3:6]], stream=True
        )
    ]
    assert ("".join(piece.text for piece in told), told[-1].finish_reason) == (text[:3], "stop")
    return text


def _chats(client: OpenAI, text: str) -> None:
    """A model with a template answers, in choices of their own; one without refuses before it streams."""
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError, match="chat template"):
            client.chat.completions.create(
                model="test/recital", messages=[{"role": "user", "content": PROMPT}], stream=stream
            )
    stream_of_two = client.chat.completions.create(
        model="test/talker",
        messages=[{"role": "user", "content": PROMPT}],
        max_tokens=8,
        temperature=0,
        n=2,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream_of_two)
    texts = ["", ""]
    for chunk in chunks[:-1]:
        texts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    # Where there is a template, an answer has no blanks around it.
    assert [told.strip() for told in texts] == [text.strip()] * 2
    usage = chunks[-1].usage
    assert usage is not None
    assert usage.completion_tokens == 16


def _keeps_to_a_schema(client: OpenAI) -> None:
    """Tokens that the model would never have drawn, as their logprobs tell; the same in pieces."""
    schema = {"type": "object", "properties": {"is": {"enum": ["cat", "rabbit"]}}, "required": ["is"]}
    asked: dict[str, Any] = {
        "model": "test/talker",
        "messages": [{"role": "user", "content": PROMPT}],
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "animal", "schema": {**schema, "additionalProperties": False}},
        },
        "max_tokens": 120,
        "seed": 1,
        "logprobs": True,
        "top_logprobs": 2,
    }
    (whole,) = client.chat.completions.create(**asked).choices
    assert json.loads(whole.message.content or "")["is"] in ("cat", "rabbit")
    tokens = whole.logprobs.content
    assert bytes(byte for token in tokens for byte in token.bytes).decode() == whole.message.content
    assert min(token.logprob for token in tokens) < -5
    assert all(len(token.top_logprobs) == 2 for token in tokens)
    told = [chunk.choices[0] for chunk in client.chat.completions.create(**asked, stream=True)]
    assert "".join(piece.delta.content or "" for piece in told) == whole.message.content
    pieces = [token for piece in told if piece.logprobs for token in piece.logprobs.content]
    assert [token.token for token in pieces] == [token.token for token in tokens]
    asked["response_format"]["json_schema"]["schema"] = {"type": "array", "uniqueItems": True}
    with pytest.raises(openai.BadRequestError, match="uniqueItems"):
        client.chat.completions.create(**asked)


def _looks(client: OpenAI) -> None:
    """A larger image is more tokens to read."""
    read = []
    for size in (32, 64):
        image = {"url": data_uri(Image.new("RGB", (size, size), "red"))}
        seen = client.chat.completions.create(
            model="test/viewer",
            messages=[{"role": "user", "content": [{"type": "image_url", "image_url": image}]}],  # type: ignore[list-item, misc]  # a TypedDict of theirs
            max_tokens=4,
        )
        assert seen.usage is not None
        assert 1 <= seen.usage.completion_tokens <= 4
        read.append(seen.usage.prompt_tokens)
    assert 0 < read[0] < read[1]
    turns: list[Any] = [
        {"role": "user", "content": [{"type": "image_url", "image_url": image}]},
        {"role": "assistant", "content": "A red square."},
        {"role": "user", "content": [{"type": "image_url", "image_url": image}]},
    ]
    again = client.chat.completions.create(model="test/viewer", messages=turns, max_tokens=4)
    assert again.usage is not None
    assert again.usage.prompt_tokens > 2 * read[1]


def _embeds(client: OpenAI) -> None:
    """The same vectors in both encodings; like sentences are near each other."""
    packed = client.embeddings.create(model="test/minilm", input=SENTENCES)
    numbers = client.embeddings.create(model="test/minilm", input=SENTENCES, encoding_format="float")
    vectors = np.array([item.embedding for item in packed.data])
    assert vectors == pytest.approx(np.array([item.embedding for item in numbers.data]), abs=1e-6)
    nearness = vectors @ vectors.T
    assert nearness[0, 1] > 0.5 > nearness[0, 2]
    assert packed.usage.prompt_tokens == packed.usage.total_tokens > len(SENTENCES) * 5
    ids = AutoTokenizer.from_pretrained(str(minilm.folder()))(SENTENCES[0])["input_ids"]
    by_ids = client.embeddings.create(model="test/minilm", input=ids)
    assert by_ids.data[0].embedding == pytest.approx(packed.data[0].embedding, abs=1e-6)
    assert by_ids.usage.total_tokens == len(ids)
    with pytest.raises(openai.BadRequestError, match="token 30522 is not in this model's vocabulary"):
        client.embeddings.create(model="test/minilm", input=[[30_522]])
    assert client.models.retrieve("test/minilm").to_dict()["dimensions"] == len(vectors[0])
