"""Object detection: what is in an image, and where."""

from __future__ import annotations

from model_types.base import TypeInfo
from model_types.object_detection.schema import Input, Output

INFO = TypeInfo(
    name="object-detection",
    description="Finds objects in an image: labels, scores and boxes, and the image with them drawn in.",
    Input=Input,
    Output=Output,
    engines={
        "transformers": "model_types.object_detection.transformers:Transformers",
        "ultralytics": "model_types.object_detection.ultralytics:Ultralytics",
    },
    default_engine="transformers",
    takes=("image",),
    gives=("box",),
    max_batch=64,
)
