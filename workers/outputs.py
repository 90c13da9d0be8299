"""What a model gives back, made into what is stored: JSON in the database, files in the store of files."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import msgspec
from pydantic import BaseModel

from db.blobs import REFERENCE_PREFIX, Blob, Blobs, BlobStoreUnavailable, folder_of, is_key, with_extension
from db.leases import Lease, Outcome
from db.states import FailureCode, Status
from model_types.base import Failure, OutputFile

logger = logging.getLogger(__name__)

MAX_ERROR_LENGTH = 4000
# While the store of files is away the outcomes of a batch wait so long for it, and so may the lane.
STORE_SECONDS = 15.0
_NUMBERS = frozenset({int, float, bool})

_NOT_STORED = Failure(
    FailureCode.STORAGE_UNAVAILABLE,
    "The output's files could not be stored: the store of files is out of reach.",
)


class UnusableName(ValueError):
    """A file of an output has a name that cannot be its own part of a URL."""


def outcome_of(
    lease: Lease,
    result: Any | Failure,
    *,
    logs: str | None = None,
    metrics: Mapping[str, float | str] | None = None,
) -> Outcome:
    """The end of one prediction: its output as JSON text, or its failure; what is no JSON is a failure.

    `metrics` are of one that has succeeded.
    """
    if isinstance(result, Failure):
        return Outcome(lease, Status.FAILED, error=sentence(result.message), failure=result.code, logs=logs)
    files = _Files(lease)
    try:
        output = _text(result, files.plain)
    except (TypeError, ValueError, RecursionError) as error:
        message = f"The model's output cannot be written as JSON: {error}"
        failure = FailureCode.MODEL_ERROR
        return Outcome(lease, Status.FAILED, error=sentence(message), failure=failure, logs=logs)
    written = list(files.by_key.values())
    return Outcome(lease, Status.SUCCEEDED, output=output, files=written, logs=logs, metrics=metrics)


def json_of(value: Any) -> str | None:
    """A part of an output as JSON text; None where it is no JSON, or has files, which are not stored yet."""
    try:
        return _text(value, _plain_without_files)
    except (TypeError, ValueError, RecursionError):
        return None


def _text(value: Any, plain: Callable[[Any], Any]) -> str:
    """JSON, in which `plain(value)` stands for what is none. Raises as `json.dumps` and `str.encode` do."""
    if _is_of_numbers(value):
        try:
            # Vectors are long, and this takes a ninth of the time.
            return msgspec.json.encode(value).decode()
        except OverflowError:
            pass  # larger integers than it knows
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, default=plain)
    text.encode()
    return text


def _is_of_numbers(value: Any) -> bool:
    """Whether this is a list of finite numbers, or of lists of them."""
    if not isinstance(value, list) or not value:
        return False
    rows = value if isinstance(value[0], list) else [value]
    # Their types exactly: what else can be summed up, the other writes differently or not at all.
    return all(type(row) is list and _NUMBERS.issuperset(map(type, row)) and _is_finite(row) for row in rows)


def _is_finite(numbers: list[float]) -> bool:
    try:
        return math.isfinite(sum(numbers))
    except OverflowError:
        return False


def _plain_without_files(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", context={"refer": _plain_without_files})
    raise TypeError(f"{type(value).__name__} is not JSON")


def with_files_stored(
    outcomes: Sequence[Outcome], blobs: Blobs, *, patience_seconds: float = STORE_SECONDS
) -> list[Outcome]:
    """The outcomes, when their files are stored; failures in place of those whose files cannot be."""
    stored, is_away = [], False
    for outcome in outcomes:
        # One of them waits for the store, not each.
        if outcome.files and (is_away or not _stored(outcome, blobs, patience_seconds)):
            is_away = True
            stored.append(outcome_of(outcome.lease, _NOT_STORED, logs=outcome.logs))
        else:
            stored.append(outcome)
    return stored


def delete_files(outcomes: Sequence[Outcome], blobs: Blobs, *, but: Collection[str]) -> None:
    """Delete what has been stored for these, but for the predictions with these ids.

    What cannot be deleted now goes with the prediction.
    """
    for outcome in outcomes:
        if outcome.files and outcome.lease.id not in but:
            try:
                blobs.delete(_folder(outcome.lease))
            except BlobStoreUnavailable as error:
                logger.warning("the files of %s are left behind: %s", outcome.lease.id, error)


def sentence(message: str) -> str:
    """PostgreSQL's text knows no NUL and no half characters, and nobody reads a megabyte of traceback."""
    return message[:MAX_ERROR_LENGTH].replace("\x00", "�").encode("utf-8", "replace").decode()


class _Files:
    """The files of one output, met while it is written as JSON."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        self.by_key: dict[str, Blob] = {}

    def plain(self, value: Any) -> Any:
        """What stands in JSON for what is none. Raises `TypeError` and `UnusableName`."""
        if isinstance(value, OutputFile):
            return self.refer(value)
        if isinstance(value, BaseModel):
            return value.model_dump(mode="json", context={"refer": self.refer})
        raise TypeError(f"{type(value).__name__} is not JSON")

    def refer(self, file: OutputFile) -> str:
        """The reference to a file, which is to be stored."""
        name = with_extension(file.name, file.media_type)
        if "/" in name or not is_key(name):
            raise UnusableName(
                f"{file.name[:100]!r} is no name for a file: use letters, digits, '.', '_', '-'"
            )
        key = f"{_folder(self._lease)}/{name}"
        if self.by_key.setdefault(key, Blob(key, file.data)).data != file.data:
            raise UnusableName(f"two files are called {name!r}")
        return REFERENCE_PREFIX + key


def _folder(lease: Lease) -> str:
    """Of this attempt alone: another lane may be at work on the next one already."""
    return f"{folder_of('predictions', lease.id)}/{lease.attempt}"


def _stored(outcome: Outcome, blobs: Blobs, patience_seconds: float) -> bool:
    """Store an outcome's files, trying again for a while; whether that succeeded."""
    give_up_at = time.monotonic() + patience_seconds
    pause_seconds = 0.1
    while True:
        try:
            for blob in outcome.files:
                blobs.put(blob.key, blob.data)
            return True
        except BlobStoreUnavailable as error:
            logger.warning("the files of %s cannot be stored now: %s", outcome.lease.id, error)
        if time.monotonic() + pause_seconds > give_up_at:
            return False
        time.sleep(pause_seconds)
        pause_seconds *= 2
