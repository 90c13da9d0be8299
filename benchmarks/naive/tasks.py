"""The naive server's worker: one message and one transaction in, one out, for each prediction."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from functools import cache
from typing import Any
from uuid import UUID

from celery import Celery
from sqlalchemy import create_engine
from sqlalchemy.orm import Session, sessionmaker

from benchmarks.naive.tables import Model, Prediction
from model_types import registry
from model_types.base import Failure, ModelType, VersionSpec

TERMINAL = frozenset({"succeeded", "failed"})

app = Celery("naive", broker=os.environ["REDIS_URL"])
app.conf.update(
    task_ignore_result=True,
    task_acks_late=True,
    worker_prefetch_multiplier=4,
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=False,
)


@cache
def sessions() -> sessionmaker[Session]:
    """This process's sessions, on one connection that stays open."""
    url = os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+psycopg://")
    return sessionmaker(create_engine(url, pool_size=1), expire_on_commit=False)


@cache
def loaded(model_id: UUID, name: str, model_type: str) -> ModelType:
    """The model, loaded once in this process."""
    info = registry.get(model_type)
    spec = VersionSpec(str(model_id), name, model_type, info.default_engine, path="")
    engine = registry.engine(spec)
    engine.load(spec, "cpu")
    return engine


@app.task(name="naive.predict")  # type: ignore[untyped-decorator]
def predict(prediction_id: str) -> None:
    """Load the row, run the model, update the row."""
    with sessions()() as session:
        prediction = session.get_one(Prediction, UUID(prediction_id))
        if prediction.status in TERMINAL:  # the message came twice
            return
        prediction.status = "processing"
        prediction.started_at = datetime.now(UTC)
        session.commit()
        model = session.get_one(Model, prediction.model_id)
        output = _run(loaded(model.id, model.name, model.model_type), prediction.input)
        if isinstance(output, Failure):
            prediction.status, prediction.error = "failed", output.message
        else:
            prediction.status, prediction.output = "succeeded", output
        prediction.completed_at = datetime.now(UTC)
        session.commit()


def _run(engine: ModelType, value: dict[str, Any]) -> Any:
    return engine.predict([engine.prepare(value)])[0]
