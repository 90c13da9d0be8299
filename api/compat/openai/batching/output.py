"""The files that a batch ends with: a line for each request, in the one or the other."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from typing import IO, Any, Self

import msgspec
from sqlalchemy.exc import SQLAlchemyError

from api.compat.openai.batching.feeding import request_id_of
from api.compat.openai.batching.lines import OPERATIONS, body_of, read_lines
from api.compat.openai.errors import error_answer
from api.compat.openai.running import succeeded
from api.credentials import Principal
from api.gateway import Gateway
from api.services import files
from api.services.files import OUTPUT_PURPOSE, NewFile
from db.documents import PredictionRecord
from db.repositories import predictions
from db.repositories.transactions import read
from db.states import Status
from db.tables import Batch, BatchLine, File

_AT_ONCE = 8
# Beyond this a file is on the disk while it is written.
_IN_MEMORY_BYTES = 1 << 20
_CANCELLED = {"code": "batch_cancelled", "message": "The batch was cancelled before this request was done."}
_EXPIRED = {"code": "batch_expired", "message": "The batch's time was up before this request was done."}


@dataclass(frozen=True, slots=True)
class _Response:
    """What the route would have answered; `body` is JSON."""

    status_code: int
    body: bytes
    records: Sequence[PredictionRecord] = ()


class Answers:
    """Collects the answers of a batch, as they are stored, in files that go when the block ends."""

    def __init__(self, gateway: Gateway, owner: Principal, batch: Batch, key: str) -> None:
        self._gateway = gateway
        self._owner = owner
        self._batch = batch
        self._key = key
        self._closing = ExitStack()
        self._output, self._errors = self._temporary(), self._temporary()
        self._tokens = {"input_tokens": 0, "output_tokens": 0}
        self._completed = 0
        self._failed = 0
        self.undone = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    @property
    def totals(self) -> Mapping[str, int]:
        """How many requests have come to which end, and their tokens, by the columns of `Batch`."""
        return {"completed": self._completed, "failed": self._failed, **self._tokens}

    async def add(self, lines: Sequence[BatchLine]) -> None:
        """Write the answers of these lines."""
        async for group in read_lines(self._gateway.blobs, self._key, lines, most=_AT_ONCE):
            ids = [prediction_id for line, _ in group for prediction_id in line.prediction_ids]
            known = await self._records(ids)
            for line, data in group:
                records = [known[one] for one in line.prediction_ids if one in known]
                self._write(line, await self._response(line, records, data))
                # Whoever else this process serves goes first.
                await asyncio.sleep(0)

    async def _records(self, ids: Sequence[str]) -> Mapping[str, PredictionRecord]:
        return await read(self._gateway.engine, lambda session: predictions.by_ids(session, ids))

    async def stored(self) -> dict[str, File]:
        """Those of the files that have lines, stored: `output` and `error`."""
        contents = {"output": self._output, "error": self._errors}
        return {
            kind: await self._stored(kind, content) for kind, content in contents.items() if content.tell()
        }

    async def _stored(self, kind: str, content: IO[bytes]) -> File:
        size = content.tell()
        content.seek(0)
        new = NewFile(
            content=content,
            size=size,
            name=f"batch_{self._batch.id}_{kind}.jsonl",
            content_type="application/jsonl",
            purpose=OUTPUT_PURPOSE,
            lifetime_seconds=self._batch.output_seconds,
        )
        return await files.stored(self._gateway, self._owner.id, new)

    async def _response(
        self, line: BatchLine, records: Sequence[PredictionRecord], data: bytes
    ) -> _Response | None:
        """What the route would have answered; None where the batch has ended too soon for that."""
        if line.status_code is not None and line.answer is not None:
            return _Response(line.status_code, line.answer.encode())
        is_failed = any(record.status == Status.FAILED for record in records)
        is_whole = len(records) == len(line.prediction_ids) and all(record.completed_at for record in records)
        is_called_off = (
            any(record.status == Status.CANCELED for record in records) and line.state == "running"
        )
        if not is_failed and (not is_whole or is_called_off):
            return None
        operation = OPERATIONS[self._batch.endpoint]
        try:
            done = [succeeded(record) for record in sorted(records, key=_failed_first)]
            done.sort(key=lambda record: line.prediction_ids.index(record.id))
            version = await self._gateway.versions.resolve(done[0].version_id, self._owner)
            body = operation.body_type.model_validate_json(body_of(data))
            return _Response(200, operation.answer(body, version, done).encode(), done)
        except (SQLAlchemyError, OSError):  # the request has nothing to do with it: later
            raise
        except Exception as error:  # the route would have answered it too
            answer = error_answer(error)
            return _Response(answer.status_code, bytes(answer.body))

    def _write(self, line: BatchLine, response: _Response | None) -> None:
        request_id = request_id_of(line.prediction_ids)
        told: dict[str, Any] = {
            "id": request_id,
            "custom_id": line.custom_id,
            "response": None,
            "error": None,
        }
        if response is None:
            self.undone += 1
            told["error"] = _CANCELLED if self._batch.status == "cancelling" else _EXPIRED
        else:
            told["response"] = {
                "status_code": response.status_code,
                "request_id": request_id,
                "body": msgspec.Raw(response.body),
            }
        is_answer = response is not None and response.status_code == 200
        self._completed += is_answer
        self._failed += response is not None and not is_answer
        for record in response.records if response else ():
            for name in self._tokens:
                self._tokens[name] += int((record.metrics or {}).get(f"{name.removesuffix('s')}_count", 0))
        (self._output if is_answer else self._errors).write(msgspec.json.encode(told) + b"\n")

    def _temporary(self) -> IO[bytes]:
        return self._closing.enter_context(SpooledTemporaryFile(_IN_MEMORY_BYTES))


def _failed_first(record: PredictionRecord) -> bool:
    """What a line has failed for comes before what was canceled for it."""
    return record.status != Status.FAILED
