"""The floor of `openai`: routes of FastAPI that answer the same to all, served as the gateway is served."""

from __future__ import annotations

import base64
from typing import Any

from fastapi import FastAPI

from benchmarks.serving import serve

DIMENSIONS = 384
_VECTOR = base64.b64encode(bytes(4 * DIMENSIONS)).decode()

app = FastAPI()


@app.get("/v1/models")
async def models() -> dict[str, Any]:
    return {"object": "list", "data": []}


@app.post("/v1/embeddings")
async def embeddings() -> dict[str, Any]:
    return {
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": _VECTOR}],
        "model": "canned",
        "usage": {"prompt_tokens": 8, "total_tokens": 8},
    }


@app.post("/v1/chat/completions")
async def chat() -> dict[str, Any]:
    message = {"role": "assistant", "content": "without pictures or conversations?"}
    return {
        "id": "chatcmpl-canned",
        "object": "chat.completion",
        "created": 0,
        "model": "canned",
        "choices": [{"index": 0, "message": message, "finish_reason": "length"}],
        "usage": {"prompt_tokens": 8, "completion_tokens": 16, "total_tokens": 24},
    }


if __name__ == "__main__":
    serve(app)
