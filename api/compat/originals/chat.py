"""Chat completions that need name no model, and say their text beside the message."""

from __future__ import annotations

import json

from fastapi import APIRouter, Request, Response
from pydantic import Field

from api.compat.openai import chat
from api.compat.openai.requests import admitted, described
from api.compat.openai.schemas.chat import ChatCompletion, ChatRequest
from api.compat.originals.default_model import default_model

router = APIRouter(tags=["openai"])

PATH = "/chat/completions"


class UnnamedChatRequest(ChatRequest):
    """A conversation that may leave its model to the server."""

    model: str = Field("", description="As in /v1/chat/completions; MODEL_ID or the only model if left out.")


@router.post(PATH, response_model=ChatCompletion, openapi_extra=described(UnnamedChatRequest))
async def create(request: Request) -> Response:
    """Answer a conversation as /v1/chat/completions does; a choice has its `text` beside the message, too."""
    principal, body = await admitted(request, UnnamedChatRequest)
    if not body.model:
        sees = any(message.images for message in body.messages)
        wanted = "image-to-text" if sees else "text-generation"
        model = await default_model(request, principal, [wanted], field="model")
        body = body.model_copy(update={"model": model})
    response = await chat.answered(request, principal, body)
    if body.stream:
        return response
    answer = json.loads(bytes(response.body))
    for choice in answer["choices"]:
        choice["text"] = choice["message"]["content"]
    return Response(json.dumps(answer), media_type="application/json")
