"""Chat completions: a prediction for each choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request, Response

from api.compat.openai.conversations import PARAMETERS, conversation
from api.compat.openai.operations import Input, Operation
from api.compat.openai.requests import admitted, described, while_connected
from api.compat.openai.running import Call, call, finish_reason, head, usage_of
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
from api.compat.openai.written import Written
from api.credentials import Principal
from api.services.versions import ResolvedVersion
from db.documents import PredictionRecord

router = APIRouter(tags=["openai"])

PATH = "/v1/chat/completions"
MODEL_TYPES = ("text-generation", "image-to-text")


@router.post(PATH, response_model=ChatCompletion, openapi_extra=described(ChatRequest))
async def create(request: Request) -> Response:
    """Answer a conversation, as OpenAI's API does: at once, or in chunks with `stream`."""
    return await answered(request, *await admitted(request, ChatRequest))


async def answered(request: Request, principal: Principal, body: ChatRequest) -> Response:
    """The answer to a conversation that has been let in and read."""
    asked = await call(request, principal, body.model, MODEL_TYPES, _parameters(body), priority=body.priority)
    inputs = _inputs(body, asked.version)
    if body.stream:
        records = await while_connected(request, asked.begin(inputs))
        chunks = ChatChunks(asked, records[0], body.alternatives is not None)
        usage = chunks.usage if body.includes_usage else None
        return await streamed(asked, records, chunks, choices=body.n or 1, usage=usage)
    answer = _answer(body, asked.version, await asked.run(inputs))
    return Response(answer, media_type="application/json")


def _parameters(body: ChatRequest) -> Mapping[str, str]:
    limit = "max_tokens" if body.max_completion_tokens is None else "max_completion_tokens"
    return {**PARAMETERS, "max_new_tokens": limit}


def _inputs(body: ChatRequest, version: ResolvedVersion) -> list[Input]:
    turns = conversation(body, version.model_type)
    return [{**turns, **body.sampling(choice)} for choice in range(body.n or 1)]


def _answer(body: ChatRequest, _: ResolvedVersion, records: Sequence[PredictionRecord]) -> str:
    choices = [_choice(index, record) for index, record in enumerate(records)]
    usage = usage_of(records, choices=len(records))
    answer = ChatCompletion(**head("chatcmpl", body.model, records[0]), choices=choices, usage=usage)
    return answer.model_dump_json()


def _choice(index: int, record: PredictionRecord) -> ChatChoice:
    written = Written.of(record.output)
    return ChatChoice(
        index=index,
        message=AssistantMessage(content=written.text),
        logprobs=written.chat_logprobs,
        finish_reason=finish_reason(record),
    )


OPERATION = Operation(PATH, ChatRequest, MODEL_TYPES, _parameters, _inputs, _answer)


@dataclass(frozen=True, slots=True)
class ChatChunks:
    """Chunks of a conversation's answers, after the first of its predictions."""

    asked: Call
    record: PredictionRecord
    has_logprobs: bool

    def first(self, choice: int) -> ChatChunk:
        return self._chunk(choice, {"role": "assistant", "content": ""})

    def text(self, choice: int, text: str) -> ChatChunk:
        written = Written.told(text, has_logprobs=self.has_logprobs)
        return self._chunk(choice, {"content": written.text}, logprobs=written.chat_logprobs)

    def last(self, choice: int, reason: FinishReason) -> ChatChunk:
        return self._chunk(choice, {}, finish_reason=reason)

    def usage(self, usage: Usage) -> ChatChunk:
        return ChatChunk(**self.asked.head("chatcmpl", self.record), choices=[], usage=usage)

    def _chunk(self, choice: int, delta: dict[str, Any], **fields: Any) -> ChatChunk:
        piece = ChunkChoice(index=choice, delta=delta, **fields)
        return ChatChunk(**self.asked.head("chatcmpl", self.record), choices=[piece])
