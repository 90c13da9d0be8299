"""A prediction as its clients see it: one shape for the API's answers and for webhooks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import Row

from db.blob_urls import BlobUrls
from db.states import Event
from db.stream_urls import StreamUrls


class PredictionRecord(msgspec.Struct, frozen=True):
    """A prediction and what the queue says of it; `model` is `owner/name`, None once it is deleted.

    While a lane works on it, `status` is `processing`, `started_at` is when the lane claimed it, `output`
    and `logs` are what it has come to, and `progress` is how far it has come, 0 to 1, where its model can
    tell. While it waits, `pool` and `rank` are its place in the queue. `webhook_events` are null for all of
    them, `deadline_at` is the client's own deadline, and `data_removed` tells that input and output are gone.
    """

    id: str
    owner_id: str
    model_id: str
    model: str | None
    version_id: str
    status: str
    input: dict[str, Any]
    output: Any
    error: str | None
    failure: str | None
    webhook: str | None
    attempts: int
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    progress: float | None = None
    logs: str = ""
    metrics: dict[str, float | str] | None = None
    source: str = "api"
    deployment: str | None = None
    webhook_events: Sequence[str] | None = None
    deadline_at: datetime | None = None
    data_removed: bool = False
    pool: str | None = None
    rank: float | None = None


# To be read with `SELECT {RECORD_COLUMNS} FROM … p {RECORD_JOINS}`, `p` being `predictions`.
RECORD_COLUMNS = """
    p.id, p.owner_id, p.model_id, m.owner || '/' || m.name AS model, p.version_id,
    CASE WHEN q.lane IS NULL THEN p.status ELSE 'processing' END AS status,
    p.input, coalesce(p.output, so_far.output) AS output, p.error, p.failure, p.webhook,
    coalesce(q.attempt, p.attempts) AS attempts,
    p.created_at, coalesce(p.started_at, q.claimed_at) AS started_at, p.completed_at,
    CASE WHEN q.lane IS NOT NULL THEN q.progress END AS progress,
    coalesce(p.logs, so_far.logs, '') AS logs, p.metrics,
    p.source, p.deployment, p.webhook_events, p.deadline_at, p.data_removed,
    CASE WHEN q.lane IS NULL THEN q.pool END AS pool, CASE WHEN q.lane IS NULL THEN q.rank END AS rank
"""
RECORD_JOINS = """
    LEFT JOIN models m ON m.id = p.model_id
    LEFT JOIN queue q ON q.id = p.id
    LEFT JOIN partials so_far ON so_far.id = q.id AND so_far.attempt = q.attempt AND q.lane IS NOT NULL
"""


def read_record(row: Row[Any]) -> PredictionRecord:
    """The record in a row of `RECORD_COLUMNS`, which may have more columns."""
    return PredictionRecord(*[getattr(row, name) for name in PredictionRecord.__struct_fields__])


def prediction_document(
    record: PredictionRecord, *, base_url: str, blob_urls: BlobUrls, stream_urls: StreamUrls
) -> dict[str, Any]:
    """The JSON object for clients. Times are ISO 8601 in UTC.

    `metrics` are times in seconds, without `predict_time` where no lane had begun, and what the model has
    measured. Its own files are there by their URLs. `base_url` has no slash at its end. `model` and
    `model_id` are the model's name; once it is deleted a word without meaning, since clients expect one.
    """
    here = f"{base_url}/v1/predictions/{record.id}"
    return {
        "id": record.id,
        "status": record.status,
        "model_id": record.model or record.model_id,
        "model": record.model or record.model_id,
        "version": record.version_id,
        "input": blob_urls.rendered(record.input, "inputs", record.id, base_url=base_url),
        "output": blob_urls.rendered(record.output, "predictions", record.id, base_url=base_url),
        "logs": record.logs,
        "error": record.error,
        "failure": record.failure,
        "attempts": record.attempts,
        "source": record.source,
        "data_removed": record.data_removed,
        "created_at": iso(record.created_at),
        "started_at": iso(record.started_at),
        "completed_at": iso(record.completed_at),
        "metrics": _metrics(record),
        "urls": {
            "get": here,
            "cancel": f"{here}/cancel",
            "web": f"{base_url}/p/{record.id}",
            "stream": stream_urls.url(base_url, record.id),
        },
        **_where_it_applies(record),
    }


def _where_it_applies(record: PredictionRecord) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    if record.progress is not None:
        shown["progress"] = record.progress
    if record.deployment is not None:
        shown["deployment"] = record.deployment
    if record.deadline_at is not None:
        shown["deadline"] = iso(record.deadline_at)
    if record.webhook is not None:
        shown["webhook"] = record.webhook
        shown["webhook_events_filter"] = list(record.webhook_events or Event)
    return shown


def iso(moment: datetime | None) -> str | None:
    """ISO 8601 in UTC with six decimals and a Z, such as 2026-01-02T03:04:05.000006Z."""
    if moment is None:
        return None
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def _metrics(record: PredictionRecord) -> dict[str, float | str]:
    if record.completed_at is None:
        return {}
    metrics = {
        **(record.metrics or {}),
        "total_time": (record.completed_at - record.created_at).total_seconds(),
    }
    if record.started_at is not None:
        metrics["predict_time"] = (record.completed_at - record.started_at).total_seconds()
    return metrics
