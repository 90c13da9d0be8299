"""Outputs that are equal up to rounding: how a sum is rounded depends on what else a pass computes."""

from __future__ import annotations

from math import isclose
from typing import Any

from pydantic import BaseModel

TOLERANCE = 1e-5


def same_numbers(one: Any, other: Any) -> bool:
    """Whether two outputs have the same shape and words, and numbers that differ by `TOLERANCE` at most."""
    if isinstance(one, BaseModel) and isinstance(other, BaseModel):
        return same_numbers(one.model_dump(), other.model_dump())
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same_numbers(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same_numbers, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return isclose(one, other, rel_tol=0, abs_tol=TOLERANCE)
    return bool(one == other)
