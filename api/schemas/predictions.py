"""Predictions on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec
from pydantic import BaseModel, Field

from db.states import Event, Status


class PredictionCreate(msgspec.Struct, forbid_unknown_fields=True):
    """What a client asks for. The model is named by exactly one of `model_id`, `version` and `model`.

    A msgspec struct, because this is the one body that is read thousands of times a second.
    """

    input: dict[str, Any]
    model_id: str | None = None
    version: str | None = None
    model: str | None = None
    webhook: str | None = None
    webhook_events_filter: list[Event] | None = None
    # What Replicate's stable Python client calls a webhook that hears of the end alone.
    webhook_completed: str | None = None
    stream: bool | None = None


# Who asked for it: a program, or a person at the console.
Source = Literal["api", "web"]


class Urls(BaseModel):
    """Where a prediction is to be had."""

    get: str
    cancel: str
    web: str
    stream: str


class Metrics(BaseModel):
    """How long it took, in seconds: from its acceptance, and from when a lane began.

    And what its model has counted.
    """

    total_time: float | None = None
    predict_time: float | None = None
    input_token_count: int | None = Field(None, description="Where a model reads tokens.")
    output_token_count: int | None = Field(None, description="Where a model writes tokens.")
    finish_reason: Literal["stop", "length"] | None = Field(
        None, description="Whether a text has come to its end, or to its limit."
    )
    input_audio_seconds: float | None = Field(None, description="Where a model hears.")


class Prediction(BaseModel):
    """One request for one output. Documents what `db.documents` renders."""

    id: str = Field(examples=["01k7uhm8btejrqq2hd9a21rpoj"])
    status: Status
    model_id: str
    model: str = Field(description="owner/name; the model's id once it is deleted.")
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
    source: Source = "api"
    data_removed: bool = Field(False, description="Whether input, output, logs and files are gone.")
    deployment: str | None = Field(None, description="owner/name, where it came through one.")
    deadline: datetime | None = Field(None, description="When it is canceled unless it has ended.")
    queue_position: int | None = Field(
        None, description="While it waits: how many are ahead; beyond a thousand, to a thousandth."
    )
    estimated_start: datetime | None = Field(
        None, description="While it waits: when its turn comes at the pace of the last seconds."
    )
    urls: Urls
    webhook: str | None = None
    webhook_events_filter: list[Event] | None = None


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
        "webhook": {"type": "string", "format": "uri", "description": "Told how it goes, and when it ends."},
        "webhook_events_filter": {
            "type": "array",
            "items": {"enum": list(Event)},
            "description": "What the webhook hears of; everything by default.",
        },
        "webhook_completed": {
            "type": "string",
            "format": "uri",
            "description": "The same as a webhook that hears of `completed` alone.",
            "deprecated": True,
        },
        "stream": {
            "type": "boolean",
            "description": "Whether a text is the list of its chunks; by default, with `version`.",
        },
    },
    "oneOf": [{"required": ["model_id"]}, {"required": ["version"]}, {"required": ["model"]}],
    "examples": [{"model": "demo/recital", "input": {"prompt": "Alice was", "max_new_tokens": 64}}],
}

# The same where the URL names the model.
CREATE_OF_MODEL_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["input"],
    "properties": {
        name: described
        for name, described in CREATE_SCHEMA["properties"].items()
        if name not in ("model_id", "model")
    },
}
