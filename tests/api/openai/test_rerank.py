"""Reranking, in the shape that Cohere's and Jina's clients send."""

from __future__ import annotations

import asyncio

import pytest

from tests.api.openai.conftest import MODEL, Stage

pytestmark = pytest.mark.anyio


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/v1/rerank", "/rerank"])
async def test_documents_come_back_the_best_one_first(stage: Stage, path: str) -> None:
    async with stage("rerank") as scene:
        documents = ["a dog", {"text": "a cat"}, "a fish"]
        body = {"query": "cats", "documents": documents, "top_n": 2, "return_documents": True}
        asking = asyncio.create_task(scene.post(path, **body))
        (lease,) = await scene.asked()
        assert lease.input == body
        ranked = [
            {"index": 1, "relevance_score": 0.9, "document": {"text": "a cat"}},
            {"index": 0, "relevance_score": 0.2, "document": {"text": "a dog"}},
        ]
        await scene.answer(lease, ranked, input_token_count=12)
        response = await asking
        assert response.status_code == 200, response.text
        assert response.json() == {
            "id": f"rerank-{lease.id}",
            "model": MODEL,
            "results": ranked,
            "usage": {"prompt_tokens": 12, "total_tokens": 12},
        }
        for param, changes in (
            ("documents", {"documents": []}),
            ("top_n", {"top_n": 0}),
            ("query", {"query": ""}),
        ):
            refused = await scene.post(path, **body | changes)
            assert (refused.status_code, refused.json()["error"]["param"]) == (400, param)
