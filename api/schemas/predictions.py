"""Predictions on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from pydantic import BaseModel, Field

from db.states import Status


class PredictionCreate(msgspec.Struct, forbid_unknown_fields=True):
    """What a client asks for. The model is named by exactly one of `model_id`, `version` and `model`.

    A msgspec struct, because this is the one body that is read thousands of times a second.
    """

    input: dict[str, Any]
    model_id: str | None = None
    version: str | None = None
    model: str | None = None
    webhook: str | None = None


class Urls(BaseModel):
    """Where a prediction is to be had."""

    get: str
    cancel: str
    stream: str


class Metrics(BaseModel):
    """How long it took, in seconds: from its acceptance, and from when a lane began."""

    total_time: float | None = None
    predict_time: float | None = None


class Prediction(BaseModel):
    """One request for one output. Documents what `db.documents` renders."""

    id: str = Field(examples=["01k7uhm8btejrqq2hd9a21rpoj"])
    status: Status
    model_id: str
    model: str | None = Field(description="owner/name")
    version: str
    input: dict[str, Any]
    output: Any = None
    error: str | None = Field(None, description="Why it failed, for people.")
    failure: str | None = Field(None, description="Why it failed, for machines.")
    progress: float | None = Field(
        None, description="How far it has come, 0 to 1: while it is processing, where its model can tell."
    )
    attempts: int = 0
    created_at: datetime
    started_at: datetime | None = None
    completed_at: datetime | None = None
    metrics: Metrics
    logs: str
    urls: Urls
    webhook: str | None = None


class PredictionPage(BaseModel):
    """A page of predictions, the newest first."""

    results: list[Prediction]
    next: str | None
    previous: str | None


# The body of POST /v1/predictions for the API's description.
CREATE_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["input"],
    "properties": {
        "model_id": {"type": "string", "description": "The model's id: its latest version runs."},
        "version": {"type": "string", "description": "A version's id, owner/name or owner/name:version."},
        "model": {"type": "string", "description": "owner/name: its latest version runs."},
        "input": {"type": "object", "description": "What the model's input schema asks for."},
        "webhook": {"type": "string", "format": "uri", "description": "Told when the prediction ends."},
    },
    "oneOf": [{"required": ["model_id"]}, {"required": ["version"]}, {"required": ["model"]}],
    "examples": [{"model": "demo/recital", "input": {"prompt": "Alice was", "max_new_tokens": 64}}],
}
