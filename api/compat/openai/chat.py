"""Chat completions: a prediction for each choice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request, Response

from api.compat.openai.conversations import PARAMETERS, conversation
from api.compat.openai.requests import admitted, described, while_connected
from api.compat.openai.running import Call, call, finish_reason, usage_of
from api.compat.openai.schemas.chat import (
    AssistantMessage,
    ChatChoice,
    ChatChunk,
    ChatCompletion,
    ChatRequest,
    ChunkChoice,
    FinishReason,
)
from api.compat.openai.schemas.fields import Usage
from api.compat.openai.streaming import streamed
from db.documents import PredictionRecord

router = APIRouter(tags=["openai"])

PATH = "/v1/chat/completions"
MODEL_TYPES = ("text-generation", "image-to-text")


@router.post(PATH, response_model=ChatCompletion, openapi_extra=described(ChatRequest))
async def create(request: Request) -> Response:
    """Answer a conversation, as OpenAI's API does: at once, or in chunks with `stream`."""
    principal, body = await admitted(request, ChatRequest)
    limit = "max_tokens" if body.max_completion_tokens is None else "max_completion_tokens"
    parameters = {**PARAMETERS, "max_new_tokens": limit}
    asked = await call(request, principal, body.model, MODEL_TYPES, parameters, priority=body.priority)
    turns = conversation(body, asked.version.model_type)
    inputs = [{**turns, **body.sampling(choice)} for choice in range(body.n or 1)]
    if body.stream:
        records = await while_connected(request, asked.begin(inputs))
        return await streamed(asked, records, body, ChatChunks(asked, records[0]))
    answer = _completion(asked, await asked.run(inputs))
    return Response(answer.model_dump_json(), media_type="application/json")


def _completion(asked: Call, records: Sequence[PredictionRecord]) -> ChatCompletion:
    choices = [
        ChatChoice(
            index=index,
            message=AssistantMessage(content=record.output),
            finish_reason=finish_reason(record),
        )
        for index, record in enumerate(records)
    ]
    return ChatCompletion(
        **asked.head("chatcmpl", records[0]), choices=choices, usage=usage_of(records, choices=len(records))
    )


@dataclass(frozen=True, slots=True)
class ChatChunks:
    """Chunks of a conversation's answers, after the first of its predictions."""

    asked: Call
    record: PredictionRecord

    def first(self, choice: int) -> ChatChunk:
        return self._chunk(choice, {"role": "assistant", "content": ""})

    def text(self, choice: int, text: str) -> ChatChunk:
        return self._chunk(choice, {"content": text})

    def last(self, choice: int, reason: FinishReason) -> ChatChunk:
        return self._chunk(choice, {}, reason)

    def usage(self, usage: Usage) -> ChatChunk:
        return ChatChunk(**self.asked.head("chatcmpl", self.record), choices=[], usage=usage)

    def _chunk(self, choice: int, delta: dict[str, Any], reason: FinishReason | None = None) -> ChatChunk:
        piece = ChunkChoice(index=choice, delta=delta, finish_reason=reason)
        return ChatChunk(**self.asked.head("chatcmpl", self.record), choices=[piece])
