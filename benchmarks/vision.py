"""Classification and object detection: 32 clients' images through all of Augury, batched and one by one.

The demo models, in one lane of one thread. Beside each stands the same model with passes of one; the way
through gateway and database, which both go, limits the ratio.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

from PIL import Image

from benchmarks.load import Answers, Load, apply
from benchmarks.platform import Platform, WrongResult, outputs
from benchmarks.servers import Servers
from benchmarks.sizes import Sizes
from benchmarks.table import Row, Target, at_least
from examples.demo_models import DIGITS, SHAPES
from examples.demo_models.shapes.scenes import scene

CLIENTS = 32
ONE_BY_ONE = {"max_batch": 1, "pass_rows": 1}


@dataclass(frozen=True, slots=True)
class Task:
    """A model type, the demo model that shows it, images for it, and what else the inputs say."""

    name: str
    model_type: str
    path: str
    images: Sequence[Image.Image]
    more: Mapping[str, Any] = field(default_factory=dict)
    target: Target | None = None


def measure(servers: Servers, sizes: Sizes) -> Iterator[Row]:
    """Rounds of batched and one by one in turn, after a warm-up of each; both have to find the same."""
    platform = Platform(servers, "vision")
    platform.start_gateway()
    tasks = _tasks()
    loads = [[_load(platform, task, sizes.images, options) for options in ({}, ONE_BY_ONE)] for task in tasks]
    platform.start_workers(*(task.model_type for task in tasks))
    for task, (batched, single) in zip(tasks, loads, strict=True):
        for load in (batched, single):
            apply(load, expect=201)
        together, alone = [], []
        for _ in range(sizes.rounds):
            answers = [apply(load, expect=201) for load in (batched, single)]
            together.append(answers[0].per_second)
            alone.append(answers[1].per_second)
            if _labels(answers[0]) != _labels(answers[1]):
                raise WrongResult("batches find other things than single images do")
        name = f"{task.name}, {CLIENTS} clients"
        yield Row(name, "images/s", together, "one by one", alone, task.target)


def _tasks() -> list[Task]:
    digits = [Image.open(file) for file in sorted((DIGITS / "samples").glob("*.png"))]
    scenes = [scene(number).image for number in range(CLIENTS)]
    return [
        Task("classification", "classification", str(DIGITS), digits, {"top_k": 1}),
        Task("object detection", "object-detection", str(SHAPES), scenes, target=at_least(1.5)),
    ]


def _load(platform: Platform, task: Task, total: int, options: Mapping[str, Any]) -> Load:
    """Every client waits for its answer before it sends the next image."""
    name = f"{task.model_type}-{'single' if options else 'batched'}"
    model = platform.add_model(name, task.model_type, task.path, options={"threads": 1, **options})
    return Load(
        port=platform.port,
        requests=[
            platform.submission(model["id"], {"image": _data_uri(image), **task.more}, wait=True)
            for image in task.images
        ],
        connections=CLIENTS,
        total=total,
        keep_bodies=True,
    )


def _data_uri(image: Image.Image) -> str:
    stream = BytesIO()
    image.convert("RGB").save(stream, "JPEG", quality=95)
    return f"data:image/jpeg;base64,{b64encode(stream.getvalue()).decode()}"


def _labels(answers: Answers) -> list[list[str]]:
    """The labels in each answer, in the order of the requests."""
    return [
        sorted(one["label"] for one in (output if isinstance(output, list) else output["detections"]))
        for output in outputs(answers.bodies)
    ]
