"""Predictions that stand behind one request: made together, ended together."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from starlette.requests import Request

from api.compat.openai.errors import ModelNotFound
from api.compat.openai.operations import Input
from api.compat.openai.requests import while_connected
from api.compat.openai.schemas.chat import FinishReason
from api.compat.openai.schemas.fields import ReadUsage, Usage
from api.credentials import Principal
from api.errors import Invalid, ModelFailed, Unavailable
from api.gateway import Gateway, gateway_of
from api.schemas.predictions import PredictionCreate
from api.services import predictions
from api.services.inputs import Upload
from api.services.submitting import Terms
from api.services.versions import ResolvedVersion
from db.documents import PredictionRecord
from db.errors import NotFound
from db.states import FailureCode, Priority, Status

# As long as OpenAI's clients wait by default.
HOLD_SECONDS = 600.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
    """A request and the version that it is for.

    `parameters` are what the fields of the version's input are called in the request, `uploads` the files
    that came with it, for each of the inputs.
    """

    request: Request
    gateway: Gateway
    principal: Principal
    model: str
    version: ResolvedVersion
    parameters: Mapping[str, str]
    uploads: Sequence[Upload] = ()
    priority: Priority = Priority.DEFAULT

    def head(self, kind: str, first: PredictionRecord) -> dict[str, Any]:
        """What each object of an answer begins with, after the first of its predictions."""
        return head(kind, self.model, first)

    async def run(self, inputs: Sequence[Input]) -> list[PredictionRecord]:
        """A prediction for each input, all of them succeeded; the others are canceled when one is not.

        So are all when the client goes away. Raises `Invalid`, `ModelFailed`, `BacklogFull`,
        `Unavailable` and `ClientGone`.
        """
        if self.is_bound:
            # A full queue refuses it before there are tasks for it, which cost more than all the rest.
            self.gateway.backlog.require_room(self.version.model_type, self.principal.id, self.priority)
        return await while_connected(self.request, together([self._ended(*one) for one in enumerate(inputs)]))

    async def begin(self, inputs: Sequence[Input]) -> list[PredictionRecord]:
        """A prediction for each input, accepted, to be followed and then to `cancel`. Raises as `run`."""
        records: list[PredictionRecord] = []
        try:
            for index, values in enumerate(inputs):
                records.append(await self._create(values, self._terms(index)))
        except BaseException:  # a cancellation too: nobody would wait for what still runs
            await self.cancel(records)
            raise
        return records

    async def end_of(self, record: PredictionRecord) -> PredictionRecord:
        """The prediction as it is now, if it has succeeded. Raises as `run`."""
        record = await predictions.get(self.gateway, self.principal, record.id)
        if record.completed_at is None:
            raise ModelFailed("the prediction had to start again, after a part of its text was told")
        return succeeded(record)

    async def cancel(self, records: Sequence[PredictionRecord]) -> None:
        """Cancel those of them that have not ended, unless another request may come back for them."""
        if self.is_bound:
            for record in records:
                await predictions.cancel(self.gateway, self.principal, record.id)

    @property
    def is_bound(self) -> bool:
        """Whether the predictions are of no use without this very request."""
        return self._key is None

    @property
    def _key(self) -> str | None:
        """The client's key for this request. Without a token there is none: another's may be the same."""
        return None if self.principal.is_anonymous else self.request.headers.get("idempotency-key")

    async def _ended(self, index: int, values: Input) -> PredictionRecord:
        record = await self._create(values, self._terms(index, hold_seconds=HOLD_SECONDS))
        if record.completed_at is None:
            await self.cancel([record])
            raise Unavailable(f"the prediction has not ended within {HOLD_SECONDS:.0f} s")
        return succeeded(record)

    def _terms(self, index: int, *, hold_seconds: float | None = None) -> Terms:
        key = self._key
        return Terms(
            key=f"{key}:{index}" if key and index else key,
            hold_seconds=hold_seconds,
            uploads=self.uploads,
            is_bound=self.is_bound,
            priority=self.priority,
        )

    async def _create(self, values: Input, terms: Terms) -> PredictionRecord:
        body = PredictionCreate(input=values, model=self.version.version_id)
        try:
            return await predictions.create(self.gateway, self.principal, body, terms)
        except Invalid as error:
            raise renamed(error, self.parameters) from None


async def call(
    request: Request,
    principal: Principal,
    model: str,
    model_types: Collection[str],
    parameters: Mapping[str, str],
    *,
    priority: Priority = Priority.DEFAULT,
) -> Call:
    """The call of a model that is of one of these types. Raises `ModelNotFound` and `Invalid`."""
    gateway = gateway_of(request)
    try:
        version = await resolved(gateway, principal, model, model_types)
    except Invalid as error:
        raise renamed(error, parameters) from None
    return Call(request, gateway, principal, model, version, parameters, priority=priority)


async def resolved(
    gateway: Gateway, principal: Principal, model: str, model_types: Collection[str]
) -> ResolvedVersion:
    """The version of a model that is of one of these types. Raises `ModelNotFound` and `Invalid`."""
    try:
        version = await gateway.versions.resolve(model, principal)
    except NotFound:
        raise ModelNotFound(f"the model {model[:200]!r} does not exist") from None
    if version.model_type not in model_types:
        wanted = " or ".join(model_types)
        raise Invalid([("model", f"is of the type {version.model_type}: this is for {wanted}")])
    return version


def renamed(error: Invalid, parameters: Mapping[str, str]) -> Invalid:
    """What is wrong with an input, by what the request calls its fields."""
    return Invalid([(_parameter(field, parameters), message) for field, message in error.errors])


def _parameter(field: str, parameters: Mapping[str, str]) -> str:
    """What the request calls a field of the input, such as `input.max_new_tokens`."""
    name, *rest = field.removeprefix("input.").split(".")
    # Beside names and numbers, paths have the alternatives of a field's type.
    places = [part for part in rest if part.isidentifier() or part.isdigit()]
    return ".".join([parameters.get(name, name), *places])


def succeeded(record: PredictionRecord) -> PredictionRecord:
    """The prediction, which has ended. Raises `Invalid`, `ModelFailed` or `Unavailable` by why it failed."""
    if record.status == Status.SUCCEEDED:
        return record
    message = record.error or "the prediction was canceled"
    if record.failure == FailureCode.INVALID_INPUT:
        raise Invalid([("body", message)])
    if record.failure in (None, FailureCode.DEADLINE_EXCEEDED, FailureCode.STORAGE_UNAVAILABLE):
        raise Unavailable(message)
    raise ModelFailed(message)


def head(kind: str, model: str, first: PredictionRecord) -> dict[str, Any]:
    """What each object of an answer begins with, after the first of its predictions."""
    created = int(first.created_at.timestamp())
    return {"id": f"{kind}-{first.id}", "created": created, "model": model}


async def together(works: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """What all of them give; when one raises, the others are cancelled first."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work) for work in works]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


def usage_of(records: Sequence[PredictionRecord], *, choices: int = 1) -> Usage:
    """The tokens of all of them; each prompt, which so many in a row share, counts once."""
    read = sum(_tokens(record, "input_token_count") for record in records[::choices])
    written = sum(_tokens(record, "output_token_count") for record in records)
    return Usage(prompt_tokens=read, completion_tokens=written, total_tokens=read + written)


def read_usage_of(records: Sequence[PredictionRecord]) -> ReadUsage:
    """The tokens that all of them have read."""
    read = sum(_tokens(record, "input_token_count") for record in records)
    return ReadUsage(prompt_tokens=read, total_tokens=read)


def finish_reason(record: PredictionRecord) -> FinishReason:
    """What has ended the text: `length` for the limit, else `stop`."""
    return "length" if (record.metrics or {}).get("finish_reason") == "length" else "stop"


def _tokens(record: PredictionRecord, name: str) -> int:
    return int((record.metrics or {}).get(name, 0))
