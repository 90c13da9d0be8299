"""Embeddings, as OpenAI's client asks for them."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from openai import BadRequestError

from tests.api.asking import scalar
from tests.api.openai.conftest import MODEL, Scene, Stage

pytestmark = pytest.mark.anyio

PATH = "/v1/embeddings"
# As lanes write them: the shortest decimals of nine digits that are one float32 each.
VECTORS = {"one": [0.100000001, -0.25, 9.99999972e-10], "two": [0.333333343, 1.0, 0.0]}


def ask(scene: Scene, texts: Any, **changes: Any) -> asyncio.Task[Any]:
    asking = scene.client.embeddings.create(model=MODEL, input=texts, **changes)
    return asyncio.create_task(asking)


async def answer(scene: Scene, *texts: str) -> None:
    """Embed exactly these texts, as one prediction."""
    (lease,) = await scene.asked()
    assert lease.input["text"] == list(texts)
    await scene.answer(lease, [VECTORS[text] for text in texts], input_token_count=4 * len(texts))


@pytest.mark.slow
async def test_vectors_come_in_order_and_the_same_in_both_encodings(stage: Stage) -> None:
    async with stage("embeddings") as scene:
        # The client asks for base64 where its user does not say.
        asking = ask(scene, ["one", "two"])
        await answer(scene, "one", "two")
        packed = await asking
        asking = ask(scene, ["one", "two"], encoding_format="float")
        await answer(scene, "one", "two")
        numbers = await asking
        assert [item.embedding for item in numbers.data] == [VECTORS["one"], VECTORS["two"]]
        for item, other in zip(packed.data, numbers.data, strict=True):
            assert item.index == other.index
            assert np.array_equal(np.float32(item.embedding), np.float32(other.embedding))
        assert packed.usage.model_dump() == {"prompt_tokens": 8, "total_tokens": 8}
        asking = ask(scene, "one", dimensions=3)
        (lease,) = await scene.asked()
        assert lease.input == {"text": ["one"], "dimensions": 3}
        await scene.fail(lease, "invalid_input", "input.dimensions: there are not as many")
        with pytest.raises(Exception, match="not as many") as caught:
            await asking
        assert caught.value.status_code == 400  # type: ignore[attr-defined]  # of OpenAI's own errors


@pytest.mark.slow
async def test_what_is_remembered_makes_no_prediction_and_is_counted(stage: Stage) -> None:
    async with stage("embeddings", embedding_cache_size=2, metrics_public=True) as scene:
        asking = ask(scene, "one")
        await answer(scene, "one")
        first = await asking
        asking = ask(scene, ["two", "one"])
        await answer(scene, "two")
        both = await asking
        assert both.data[1].embedding == first.data[0].embedding
        assert both.usage.prompt_tokens == 4
        again = await ask(scene, ["one", "two"], encoding_format="float")
        assert [item.embedding for item in again.data] == [VECTORS["one"], VECTORS["two"]]
        assert again.usage.prompt_tokens == 0
        assert await scalar(scene.served, "SELECT count(*) FROM predictions") == 2
        # Other dimensions are other vectors, and make the oldest one forgotten.
        asking = ask(scene, "one", dimensions=3)
        (lease,) = await scene.asked()
        await scene.answer(lease, [VECTORS["one"]])
        await asking
        exposition = (await scene.http.get("/metrics")).text
        assert "augury_embedding_cache_hits_total 3.0" in exposition
        assert "augury_embedding_cache_misses_total 3.0" in exposition
        asking = ask(scene, "one")
        await answer(scene, "one")
        await asking


@pytest.mark.slow
async def test_token_ids_reach_the_model_as_they_are(stage: Stage) -> None:
    async with stage("embeddings", embedding_cache_size=9) as scene:
        asking = ask(scene, [101, 102])
        (lease,) = await scene.asked()
        assert lease.input == {"text": [[101, 102]]}
        await scene.answer(lease, [VECTORS["one"]], input_token_count=2)
        alone = await asking
        assert (len(alone.data), alone.usage.total_tokens) == (1, 2)
        # Remembered, and not taken for a text that reads the same.
        asking = ask(scene, [[101, 102], [7]])
        (lease,) = await scene.asked()
        assert lease.input == {"text": [[7]]}
        await scene.answer(lease, [VECTORS["two"]])
        both = await asking
        assert both.data[0].embedding == alone.data[0].embedding != both.data[1].embedding
        asking = ask(scene, "[101, 102]")
        (lease,) = await scene.asked()
        assert lease.input == {"text": ["[101, 102]"]}
        await scene.fail(lease, "invalid_input", "token 102 is not in this model's vocabulary")
        with pytest.raises(BadRequestError, match="not in this model's vocabulary"):
            await asking


REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("input", {"input": []}),
    ("input", {"input": [[]]}),
    ("input", {"input": [1, "one"]}),
    ("input", {"input": [[1], "one"]}),
    ("input", {"input": [True]}),
    ("input", {"input": [[-1]]}),
    ("input", {"input": {"text": "one"}}),
    ("input", {}),
    ("input", {"input": ""}),
    ("input", {"input": ["one", ""]}),
    ("encoding_format", {"input": "one", "encoding_format": "int8"}),
    ("dimensions", {"input": "one", "dimensions": 0}),
]


@pytest.mark.slow
async def test_what_cannot_be_embedded_is_refused(stage: Stage) -> None:
    async with stage("embeddings") as scene:
        for param, body in REFUSED:
            response = await scene.post(PATH, **body)
            assert (response.status_code, response.json()["error"]["param"]) == (400, param), body
        told = (await scene.post(PATH, input=["one", 1])).json()["error"]["message"]
        assert "must be a text, texts, token ids or lists of token ids" in told
