"""What a model gives back, made into what is stored."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel

from db.leases import Lease, Outcome
from db.states import FailureCode, Status
from model_types.base import Failure

MAX_ERROR_LENGTH = 4000


def outcome_of(lease: Lease, result: Any | Failure) -> Outcome:
    """The end of one prediction: its output as JSON text, or its failure; what is no JSON is a failure."""
    if isinstance(result, Failure):
        return Outcome(lease, Status.FAILED, error=sentence(result.message), failure=result.code)
    try:
        output = json.dumps(result, ensure_ascii=False, allow_nan=False, default=_plain)
        output.encode()
    except (TypeError, ValueError, RecursionError) as error:
        message = f"The model's output cannot be written as JSON: {error}"
        return Outcome(lease, Status.FAILED, error=sentence(message), failure=FailureCode.MODEL_ERROR)
    return Outcome(lease, Status.SUCCEEDED, output=output)


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    raise TypeError(f"{type(value).__name__} is not JSON")


def sentence(message: str) -> str:
    """PostgreSQL's text knows no NUL and no half characters, and nobody reads a megabyte of traceback."""
    return message[:MAX_ERROR_LENGTH].replace("\x00", "�").encode("utf-8", "replace").decode()
