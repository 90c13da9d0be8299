"""Prompts as tasks, which clients look at until they have ended: predictions in Celery's words."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from api.access import Guest
from api.compat.openai.requests import admitted, described
from api.compat.openai.running import Call, call
from api.compat.originals.default_model import default_model
from api.errors import Unauthorized
from api.gateway import gateway_of
from api.pages import MAX_LIMIT, CursorQuery, LimitQuery, page
from api.schemas.fields import Moment
from api.services import predictions
from api.urls import base_url
from db.documents import PredictionRecord
from db.repositories.predictions import Filters
from db.states import Status

router = APIRouter(tags=["tasks"])

MODEL_TYPES = ("text-generation",)

State = Literal["PENDING", "STARTED", "SUCCESS", "FAILURE", "REVOKED"]
_STATES: dict[str, State] = {
    Status.STARTING: "PENDING",
    Status.PROCESSING: "STARTED",
    Status.SUCCEEDED: "SUCCESS",
    Status.FAILED: "FAILURE",
    Status.CANCELED: "REVOKED",
}


class Prompt(BaseModel):
    """A text to go on from, and the model that is to do it."""

    model_config = ConfigDict(extra="forbid", strict=True, protected_namespaces=())

    prompt: str = Field(min_length=1)
    model_name: str | None = Field(
        None, description="owner/name, or a name alone; MODEL_ID or the only model if left out."
    )


class Task(BaseModel):
    """A prediction. `result` is its output, as far as it has come; `error` is why it failed."""

    model_config = ConfigDict(protected_namespaces=())

    task_id: str
    status: State
    model_name: str
    result: Any
    error: str | None
    created_at: Moment

    @classmethod
    def of(cls, record: PredictionRecord, request: Request) -> Self:
        """The task that a prediction is, with its files by their URLs."""
        urls = gateway_of(request).blob_urls
        return cls(
            task_id=record.id,
            status=_STATES[record.status],
            model_name=record.model or record.model_id,
            result=urls.rendered(record.output, "predictions", record.id, base_url=base_url(request)),
            error=record.error,
            created_at=record.created_at,
        )


class TaskPage(BaseModel):
    """A page of tasks, the newest first."""

    tasks: list[Task]
    next: str | None
    previous: str | None


async def _asked(request: Request) -> tuple[Call, dict[str, Any]]:
    principal, body = await admitted(request, Prompt)
    model = body.model_name
    if model is None:
        model = await default_model(request, principal, MODEL_TYPES, field="model_name")
    asked = await call(request, principal, model, MODEL_TYPES, {"model": "model_name"})
    return asked, {"prompt": body.prompt}


@router.post("/send_text", response_model=Task, openapi_extra=described(Prompt))
async def send_text(request: Request) -> Task:
    """Ask for a text. It is durable when this answers; `/get_task_status` tells how it goes."""
    asked, values = await _asked(request)
    (record,) = await asked.begin([values])
    return Task.of(record, request)


@router.post("/generate", response_model=Task, openapi_extra=described(Prompt))
async def generate(request: Request) -> Task:
    """Ask for a text, and wait for it. It is canceled when the client goes away."""
    asked, values = await _asked(request)
    (record,) = await asked.run([values])
    return Task.of(record, request)


@router.get("/get_task_status/{task_id}")
async def get(request: Request, principal: Guest, task_id: str) -> Task:
    """A task as it is now."""
    return Task.of(await predictions.get(gateway_of(request), principal, task_id), request)


@router.get("/poll_task_status")
async def poll(request: Request, principal: Guest, task_id: Annotated[str, Query(max_length=100)]) -> Task:
    """The same, for pages that ask again and again."""
    return await get(request, principal, task_id)


@router.get("/tasks")
async def browse(
    request: Request, principal: Guest, cursor: CursorQuery, limit: LimitQuery = MAX_LIMIT
) -> TaskPage:
    """One's own predictions as tasks, the newest first; everybody's for administrators.

    401 without a token: what all of those have asked for is for none of them to see.
    """
    if principal.is_anonymous:
        raise Unauthorized("a list needs a token; without one, a task is found by its id")
    records = await predictions.browse(gateway_of(request), principal, Filters(), limit=limit, cursor=cursor)
    found = page(request, records, limit=limit, cursor=cursor, key=lambda record: record.id)
    tasks = [Task.of(record, request) for record in found["results"]]
    return TaskPage(tasks=tasks, next=found["next"], previous=found["previous"])
