"""Batches on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from db.tables import Batch as BatchRow

Endpoint = Literal[
    "/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/rerank", "/v1/moderations"
]
Status = Literal[
    "validating", "failed", "in_progress", "finalizing", "completed", "expired", "cancelling", "cancelled"
]

PREFIX = "batch_"
_Key = Annotated[str, StringConstraints(max_length=64)]
_Value = Annotated[str, StringConstraints(max_length=512)]


class OutputExpiresAfter(BaseModel):
    """For how long a batch's files are kept, from when they are there."""

    model_config = ConfigDict(extra="forbid", strict=True)

    anchor: Literal["created_at"]
    seconds: int = Field(ge=3600, le=30 * 24 * 3600)


class BatchRequest(BaseModel):
    """The body of POST /v1/batches. Unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", strict=True)

    input_file_id: str = Field(description="A file that was uploaded for the purpose `batch`.")
    endpoint: Endpoint = Field(description="Where all its requests go.")
    completion_window: Literal["24h"]
    metadata: Annotated[dict[_Key, _Value], Field(max_length=16)] | None = None
    output_expires_after: OutputExpiresAfter | None = None


class BatchError(BaseModel):
    """What is wrong with a line of a batch's input file; lines are counted from 1."""

    code: str
    message: str
    param: str | None = None
    line: int | None = None


class BatchErrors(BaseModel):
    """Why a batch has failed before any of its requests ran."""

    object: Literal["list"] = "list"
    data: list[BatchError]


class RequestCounts(BaseModel):
    """How many requests a batch has, and how many of them have come to which end."""

    total: int
    completed: int
    failed: int


class BatchUsage(BaseModel):
    """How many tokens all answers of a batch have read and written."""

    input_tokens: int
    input_tokens_details: dict[str, int] = Field(default_factory=lambda: {"cached_tokens": 0})
    output_tokens: int
    output_tokens_details: dict[str, int] = Field(default_factory=lambda: {"reasoning_tokens": 0})
    total_tokens: int


class Batch(BaseModel):
    """A batch. Times are seconds since 1970."""

    id: str = Field(examples=["batch_01k7uhm8btejrqq2hd9a21rpoj"])
    object: Literal["batch"] = "batch"
    endpoint: str
    errors: BatchErrors | None
    input_file_id: str
    completion_window: Literal["24h"] = "24h"
    status: Status
    output_file_id: str | None
    error_file_id: str | None
    created_at: int
    in_progress_at: int | None
    expires_at: int
    finalizing_at: int | None
    completed_at: int | None
    failed_at: int | None
    expired_at: int | None
    cancelling_at: int | None
    cancelled_at: int | None
    request_counts: RequestCounts
    usage: BatchUsage | None = Field(description="Once it has ended.")
    metadata: dict[str, str] | None

    @classmethod
    def of(cls, row: BatchRow) -> Self:
        counts = RequestCounts(total=row.total, completed=row.completed, failed=row.failed)
        values: dict[str, Any] = {
            "id": PREFIX + row.id,
            "endpoint": row.endpoint,
            "errors": row.errors and {"data": row.errors},
            "input_file_id": row.input_file_id,
            "status": row.status,
            "output_file_id": row.output_file_id,
            "error_file_id": row.error_file_id,
            "request_counts": counts,
            "usage": _usage(row),
            "metadata": row.details,
        }
        times = {name: _seconds(getattr(row, name)) for name in cls.model_fields if name.endswith("_at")}
        return cls(**values, **times)


class BatchList(BaseModel):
    """A page of batches, the newest first."""

    object: Literal["list"] = "list"
    data: list[Batch]
    first_id: str | None
    last_id: str | None
    has_more: bool


def _seconds(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp())


def _usage(row: BatchRow) -> BatchUsage | None:
    if row.input_tokens is None or row.output_tokens is None:
        return None
    total = row.input_tokens + row.output_tokens
    return BatchUsage(input_tokens=row.input_tokens, output_tokens=row.output_tokens, total_tokens=total)
