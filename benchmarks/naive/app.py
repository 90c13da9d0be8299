"""The naive server's HTTP side."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, FastAPI, Header, HTTPException, Request
from pydantic import BaseModel, ConfigDict, ValidationError
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from starlette.concurrency import run_in_threadpool

from benchmarks.naive.tables import Base, Model, Prediction, User
from benchmarks.naive.tasks import TERMINAL, predict
from model_types import registry

FIRST_POLL_SECONDS = 0.02
POLL_BACKOFF = 2
LONGEST_POLL_SECONDS = 0.5
DEFAULT_WAIT_SECONDS = 60.0


class NewPrediction(BaseModel):
    model_id: UUID
    input: dict[str, Any]


class PredictionOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: UUID
    model_id: UUID
    status: str
    input: dict[str, Any]
    output: Any
    error: str | None
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    url = os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+psycopg://")
    engine = create_async_engine(url, pool_size=20, max_overflow=0)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    app.state.sessions = async_sessionmaker(engine, expire_on_commit=False)
    yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan)


async def session_of(request: Request) -> AsyncIterator[AsyncSession]:
    async with request.app.state.sessions() as session:
        yield session


DatabaseSession = Annotated[AsyncSession, Depends(session_of, scope="function")]


async def current_user(session: DatabaseSession, authorization: Annotated[str, Header()] = "") -> User:
    digest = hashlib.sha256(authorization.removeprefix("Bearer ").encode()).digest()
    user = await session.scalar(select(User).where(User.token_digest == digest))
    if user is None:
        raise HTTPException(401, "the token is not valid")
    return user


CurrentUser = Annotated[User, Depends(current_user)]


@app.post("/v1/predictions", status_code=201, response_model=PredictionOut)
async def create_prediction(
    body: NewPrediction, user: CurrentUser, session: DatabaseSession, prefer: Annotated[str, Header()] = ""
) -> Prediction:
    model = await session.get(Model, body.model_id)
    if model is None:
        raise HTTPException(404, "there is no such model")
    prediction = Prediction(
        user_id=user.id, model_id=model.id, input=_validated(model.model_type, body.input)
    )
    session.add(prediction)
    await session.commit()  # which also gives the connection back while we wait
    await run_in_threadpool(predict.apply_async, [str(prediction.id)])
    if (seconds := _wait_seconds(prefer)) > 0:
        await _wait(session, prediction, seconds)
    return prediction


@app.get("/v1/predictions/{prediction_id}", response_model=PredictionOut)
async def get_prediction(prediction_id: UUID, user: CurrentUser, session: DatabaseSession) -> Prediction:
    prediction = await session.get(Prediction, prediction_id)
    if prediction is None or prediction.user_id != user.id:
        raise HTTPException(404, "there is no such prediction")
    return prediction


def _validated(model_type: str, value: dict[str, Any]) -> dict[str, Any]:
    try:
        return registry.get(model_type).Input.model_validate(value).model_dump()
    except ValidationError as error:
        raise HTTPException(422, error.errors(include_url=False)) from None


def _wait_seconds(prefer: str) -> float:
    asked = re.fullmatch(r"wait(?:=(\d+))?", prefer)
    if asked is None:
        return 0
    return float(asked[1]) if asked[1] else DEFAULT_WAIT_SECONDS


async def _wait(session: AsyncSession, prediction: Prediction, seconds: float) -> None:
    """Poll the row, less and less often, until it is terminal or the time is up."""
    pause = FIRST_POLL_SECONDS
    deadline = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(pause)
        status = await session.scalar(select(Prediction.status).where(Prediction.id == prediction.id))
        if status in TERMINAL:
            await session.refresh(prediction)
            return
        await session.commit()  # gives the connection back meanwhile
        pause = min(pause * POLL_BACKOFF, LONGEST_POLL_SECONDS)
