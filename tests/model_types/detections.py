"""Whether what was found is what was to be found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

PIXELS = 0.1
SCORE = 0.001


def intersection_over_union(one: Sequence[float], other: Sequence[float]) -> float:
    """Of two boxes given by their left, top, right and bottom edges."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(0.0, width) * max(0.0, height)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return shared / (sum(areas) - shared)


def same_detections(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether both found the same, to a tenth of a pixel; those of almost equal scores may change places."""
    return (
        len(one["detections"]) == len(other["detections"])
        and all(any(_same(a, b) for b in other["detections"]) for a in one["detections"])
        and (one["width"], one["height"]) == (other["width"], other["height"])
        and (one["image"] is None) == (other["image"] is None)
    )


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return (
        one["label"] == other["label"]
        and abs(one["score"] - other["score"]) <= SCORE
        and all(abs(a - b) <= PIXELS for a, b in zip(one["box"], other["box"], strict=True))
    )
