"""One row of a batch: an image as the model sees it, and what was asked about it."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from PIL import Image

from model_types.object_detection.drawing import annotated
from model_types.object_detection.schema import Detection, Input, Output

NAMES_IN_A_MESSAGE = 20


@dataclass(frozen=True, slots=True)
class Row:
    """A prepared image. `features` are the engine's own; `pixels` is how many of them the model sees."""

    features: Any
    pixels: int
    key: Hashable
    request: Input
    labels: Collection[str]

    @property
    def image(self) -> Image.Image:
        """The image as it came, upright, in RGB."""
        image: Image.Image = self.request.image.content
        return image

    def output(self, found: Iterable[tuple[str, float, Iterable[float]]]) -> Output:
        """Of labels, scores and boxes in pixels, those that were asked for."""
        width, height = self.image.size
        detections = [
            Detection(label=label, score=round(score, 4), box=_within(box, width, height))
            for label, score, box in sorted(found, key=lambda one: -one[1])
            if score > self.request.confidence and label in self.labels
        ]
        image = annotated(self.image, detections) if self.request.annotate else None
        return Output(detections=detections, width=width, height=height, image=image)


def wanted(request: Input, names: Mapping[int, str]) -> Collection[str]:
    """The labels to keep of those that the model knows. Raises `ValueError` for one that it does not know."""
    known = set(names.values())
    if request.classes is None:
        return known
    if unknown := [label for label in request.classes if label not in known]:
        some = ", ".join(sorted(known)[:NAMES_IN_A_MESSAGE])
        more = f" and {len(known) - NAMES_IN_A_MESSAGE} more" if len(known) > NAMES_IN_A_MESSAGE else ""
        raise ValueError(f"this model does not know the class {unknown[0]!r}; it knows: {some}{more}")
    return set(request.classes)


def _within(box: Iterable[float], width: int, height: int) -> list[float]:
    """The box, cut off at the image's edges, to a hundredth of a pixel."""
    left, top, right, bottom = box
    return [
        round(min(max(edge, 0.0), float(limit)), 2)
        for edge, limit in ((left, width), (top, height), (right, width), (bottom, height))
    ]
