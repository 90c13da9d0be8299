"""The lines of a batch's input file: where they are, what is wrong with them, and what they ask for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import msgspec
from pydantic import ValidationError

from api.compat.openai import chat, completions, embeddings, moderations, rerank
from api.compat.openai.errors import ModelNotFound
from api.compat.openai.operations import Input, Operation
from api.compat.openai.requests import invalid
from api.compat.openai.running import renamed, resolved
from api.compat.openai.schemas.batches import BatchError
from api.compat.openai.schemas.fields import OpenAIRequest
from api.credentials import Principal
from api.errors import Invalid
from api.gateway import Gateway
from api.services.versions import ResolvedVersion
from db.blobs import Blobs

OPERATIONS: Mapping[str, Operation[Any]] = {
    module.PATH: module.OPERATION for module in (chat, completions, embeddings, moderations, rerank)
}
READ_BYTES = 1 << 20
MAX_CUSTOM_ID_LENGTH = 512
_FIELDS = ("custom_id", "method", "url", "body")


class Placed(Protocol):
    """Something that is in a file at `start`, and `size` bytes long."""

    @property
    def start(self) -> int: ...
    @property
    def size(self) -> int: ...


P = TypeVar("P", bound=Placed)


@dataclass(frozen=True, slots=True)
class Line:
    """A line by its number, from 1, and where it begins in bytes; `data` is None if it is too long."""

    number: int
    start: int
    data: bytes | None


@dataclass(frozen=True, slots=True)
class Asked:
    """What a line asks for."""

    body: OpenAIRequest
    version: ResolvedVersion
    inputs: Sequence[Input]


async def lines_of(blobs: Blobs, key: str, size: int, *, max_bytes: int) -> AsyncIterator[Line]:
    """The lines of a file of `size` bytes, up to the first that is longer than `max_bytes`.

    Lines of nothing but white space are left out. Raises `BlobNotFound` and `BlobStoreUnavailable`.
    """
    number, start, rest = 0, 0, b""
    for position in range(0, size, READ_BYTES):
        rest += await asyncio.to_thread(blobs.read, key, position, min(position + READ_BYTES, size))
        *whole, rest = rest.split(b"\n")
        if position + READ_BYTES >= size:
            whole.append(rest)
        for data in whole:
            number += 1
            if data.strip():
                yield Line(number, start, data if len(data) <= max_bytes else None)
            start += len(data) + 1
        if len(rest) > max_bytes:
            yield Line(number + 1, start, None)
            return


async def read_lines(
    blobs: Blobs, key: str, placed: Sequence[P], *, most: int
) -> AsyncIterator[list[tuple[P, bytes]]]:
    """Lines with their bytes, in groups of at most so many that lie close together."""
    for group in _groups(placed, most):
        first, end = group[0].start, group[-1].start + group[-1].size
        data = await asyncio.to_thread(blobs.read, key, first, end)
        yield [(one, data[one.start - first : one.start - first + one.size]) for one in group]


def _groups(placed: Sequence[P], most: int) -> Iterator[list[P]]:
    group: list[P] = []
    for one in placed:
        if group and (len(group) == most or one.start + one.size - group[0].start > READ_BYTES):
            yield group
            group = []
        group.append(one)
    if group:
        yield group


def body_of(data: bytes) -> bytes:
    """The body in a line that has been checked."""
    return bytes(msgspec.json.decode(data, type=dict[str, msgspec.Raw])["body"])


async def translated(gateway: Gateway, principal: Principal, operation: Operation[Any], body: bytes) -> Asked:
    """What a body asks for. Raises `Invalid` and `ModelNotFound`, by the names of the body's fields."""
    try:
        request = operation.body_type.model_validate_json(body)
    except ValidationError as error:
        raise invalid(error) from None
    if getattr(request, "stream", None):
        raise Invalid([("stream", "is nothing for a batch: leave it out")])
    version = await resolved(gateway, principal, request.model, operation.model_types)
    inputs = operation.inputs(request, version)
    try:
        for values in inputs:
            version.validator.examine(values)
    except Invalid as error:
        raise renamed(error, operation.parameters(request)) from None
    return Asked(request, version, inputs)


@dataclass(frozen=True, slots=True)
class Checked:
    """A line that may run, and how many predictions it becomes."""

    custom_id: str
    prediction_count: int


@dataclass(slots=True)
class Checker:
    """Checks the lines of one batch, one after the other."""

    gateway: Gateway
    principal: Principal
    endpoint: str
    _custom_ids: set[str] = field(default_factory=set)

    async def check(self, line: Line) -> Checked | list[BatchError]:
        """All that is wrong with a line, or what it comes to. Raises what has nothing to do with it."""
        if line.data is None:
            return [_error("line_too_long", "The line is too long; what follows has not been read.", line)]
        try:
            fields = msgspec.json.decode(line.data, type=dict[str, msgspec.Raw])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return [_error("invalid_json_line", "The line is not a JSON object.", line)]
        errors = [
            *(_error("unknown_parameter", f"{name} is not a known field.", line, name[:64])
              for name in fields if name not in _FIELDS),
            *(_error("missing_required_parameter", f"{name} is required.", line, name)
              for name in _FIELDS if name not in fields),
        ]  # fmt: skip
        custom_id, method, url = (_text(fields.get(name)) for name in ("custom_id", "method", "url"))
        if "custom_id" in fields:
            errors += self._check_custom_id(custom_id, line)
        if "method" in fields and method != "POST":
            errors.append(_error("invalid_method", "method must be POST.", line, "method"))
        if "url" in fields and url != self.endpoint:
            message = f"url must be the batch's endpoint, {self.endpoint}."
            errors.append(_error("invalid_url", message, line, "url"))
        count = 0
        if "body" in fields:
            checked = await self._check_body(bytes(fields["body"]), line)
            count, found = (checked, []) if isinstance(checked, int) else (0, checked)
            errors += found
        return errors or Checked(custom_id or "", count)

    def _check_custom_id(self, custom_id: str | None, line: Line) -> list[BatchError]:
        if not custom_id or len(custom_id) > MAX_CUSTOM_ID_LENGTH or "\0" in custom_id:
            message = f"custom_id must be a text of 1 to {MAX_CUSTOM_ID_LENGTH} characters."
            return [_error("invalid_custom_id", message, line, "custom_id")]
        if custom_id in self._custom_ids:
            message = "custom_id is that of an earlier line already."
            return [_error("duplicate_custom_id", message, line, "custom_id")]
        self._custom_ids.add(custom_id)
        return []

    async def _check_body(self, body: bytes, line: Line) -> int | list[BatchError]:
        try:
            asked = await translated(self.gateway, self.principal, OPERATIONS[self.endpoint], body)
        except ModelNotFound as error:
            return [_error("model_not_found", f"{str(error).capitalize()}.", line, "body.model")]
        except Invalid as error:
            return [
                _error(
                    "invalid_request",
                    f"{name} {message}.",
                    line,
                    "body" if name == "body" else f"body.{name}",
                )
                for name, message in error.errors
            ]
        return len(asked.inputs)


def _text(value: msgspec.Raw | None) -> str | None:
    """The text that a field holds; None for anything else."""
    try:
        return None if value is None else msgspec.json.decode(value, type=str)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _error(code: str, message: str, line: Line, param: str | None = None) -> BatchError:
    return BatchError(code=code, message=message, param=param, line=line.number)
