"""Completions of prompts: a prediction for each prompt and choice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import APIRouter, Request, Response

from api.compat.openai.requests import admitted, described, while_connected
from api.compat.openai.running import Call, call, finish_reason, usage_of
from api.compat.openai.schemas.chat import FinishReason
from api.compat.openai.schemas.completions import Completion, CompletionChoice, CompletionRequest
from api.compat.openai.schemas.fields import MAX_CHOICES, Usage
from api.compat.openai.streaming import streamed
from api.errors import Invalid
from db.documents import PredictionRecord

router = APIRouter(tags=["openai"])

PATH = "/v1/completions"
MODEL_TYPES = ("text-generation",)
PARAMETERS = {"max_new_tokens": "max_tokens"}


@router.post(PATH, response_model=Completion, openapi_extra=described(CompletionRequest))
async def create(request: Request) -> Response:
    """Continue prompts, as OpenAI's API does: at once, or in chunks with `stream`."""
    principal, body = await admitted(request, CompletionRequest)
    asked = await call(request, principal, body.model, MODEL_TYPES, PARAMETERS, priority=body.priority)
    choices = body.n or 1
    if len(body.prompt) * choices > MAX_CHOICES:
        raise Invalid([("n", f"makes more than {MAX_CHOICES} choices with these prompts")])
    inputs = [
        {"prompt": prompt, **body.sampling(choice)} for prompt in body.prompt for choice in range(choices)
    ]
    if body.stream:
        records = await while_connected(request, asked.begin(inputs))
        return await streamed(asked, records, body, CompletionChunks(asked, records[0]))
    answer = _completion(asked, await asked.run(inputs), choices)
    return Response(answer.model_dump_json(), media_type="application/json")


def _completion(asked: Call, records: Sequence[PredictionRecord], choices: int) -> Completion:
    texts = [
        CompletionChoice(index=index, text=record.output, finish_reason=finish_reason(record))
        for index, record in enumerate(records)
    ]
    return Completion(
        **asked.head("cmpl", records[0]), choices=texts, usage=usage_of(records, choices=choices)
    )


@dataclass(frozen=True, slots=True)
class CompletionChunks:
    """Chunks of continuations, after the first of their predictions."""

    asked: Call
    record: PredictionRecord

    def first(self, choice: int) -> None:
        """A continuation begins with its text."""

    def text(self, choice: int, text: str) -> Completion:
        return self._chunk(choice, text)

    def last(self, choice: int, reason: FinishReason) -> Completion:
        return self._chunk(choice, "", reason)

    def usage(self, usage: Usage) -> Completion:
        return Completion(**self.asked.head("cmpl", self.record), choices=[], usage=usage)

    def _chunk(self, choice: int, text: str, reason: FinishReason | None = None) -> Completion:
        piece = CompletionChoice(index=choice, text=text, finish_reason=reason)
        return Completion(**self.asked.head("cmpl", self.record), choices=[piece])
