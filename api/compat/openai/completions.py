"""Completions of prompts: a prediction for each prompt and choice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import APIRouter, Request, Response

from api.compat.openai.operations import Input, Operation
from api.compat.openai.requests import admitted, described, while_connected
from api.compat.openai.running import Call, call, finish_reason, head, usage_of
from api.compat.openai.schemas.chat import FinishReason
from api.compat.openai.schemas.completions import Completion, CompletionChoice, CompletionRequest
from api.compat.openai.schemas.fields import MAX_CHOICES, Usage
from api.compat.openai.streaming import streamed
from api.compat.openai.written import Written
from api.errors import Invalid
from api.services.versions import ResolvedVersion
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
    inputs = _inputs(body, asked.version)
    if body.stream:
        records = await while_connected(request, asked.begin(inputs))
        chunks = CompletionChunks(asked, records[0], body.alternatives is not None)
        usage = chunks.usage if body.includes_usage else None
        return await streamed(asked, records, chunks, choices=body.n or 1, usage=usage)
    answer = _answer(body, asked.version, await asked.run(inputs))
    return Response(answer, media_type="application/json")


def _inputs(body: CompletionRequest, _: ResolvedVersion) -> list[Input]:
    choices = body.n or 1
    if len(body.prompt) * choices > MAX_CHOICES:
        raise Invalid([("n", f"makes more than {MAX_CHOICES} choices with these prompts")])
    return [
        {"prompt": prompt, **body.sampling(choice)} for prompt in body.prompt for choice in range(choices)
    ]


def _answer(body: CompletionRequest, _: ResolvedVersion, records: Sequence[PredictionRecord]) -> str:
    texts = [
        _choice(index, Written.of(record.output), finish_reason(record))
        for index, record in enumerate(records)
    ]
    usage = usage_of(records, choices=body.n or 1)
    answer = Completion(**head("cmpl", body.model, records[0]), choices=texts, usage=usage)
    return answer.model_dump_json()


def _choice(index: int, written: Written, reason: FinishReason | None = None) -> CompletionChoice:
    return CompletionChoice(
        index=index, text=written.text, logprobs=written.completion_logprobs, finish_reason=reason
    )


OPERATION = Operation(PATH, CompletionRequest, MODEL_TYPES, lambda _: PARAMETERS, _inputs, _answer)


@dataclass(frozen=True, slots=True)
class CompletionChunks:
    """Chunks of continuations, after the first of their predictions."""

    asked: Call
    record: PredictionRecord
    has_logprobs: bool

    def first(self, choice: int) -> None:
        """A continuation begins with its text."""

    def text(self, choice: int, text: str) -> Completion:
        return self._chunk(_choice(choice, Written.told(text, has_logprobs=self.has_logprobs)))

    def last(self, choice: int, reason: FinishReason) -> Completion:
        return self._chunk(_choice(choice, Written(""), reason))

    def usage(self, usage: Usage) -> Completion:
        return Completion(**self.asked.head("cmpl", self.record), choices=[], usage=usage)

    def _chunk(self, piece: CompletionChoice) -> Completion:
        return Completion(**self.asked.head("cmpl", self.record), choices=[piece])
