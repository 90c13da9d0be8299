"""What the contract test runs each engine with: one case per engine of each model type."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

from examples import custom_model
from examples.demo_models import DIGITS, RECITAL, SHAPES
from examples.demo_models.shapes.scenes import scene
from model_types.base import VersionSpec
from model_types.trust import Trust
from tests.model_types import seeing_models, tiny_encoders, tiny_moondream, whisper
from tests.model_types.detections import same_detections
from tests.model_types.nearly import same_numbers
from tests.model_types.pictures import data_uri, same_images


@dataclass(frozen=True)
class Case:
    """A version to load and eight inputs for it, of which any may be spoilt.

    `spoil` turns a prepared input into one on which the engine stumbles while it computes. `build` makes a
    model in an empty folder, which becomes the version's path. `same` says whether two outputs are equal as
    far as they must be: the sum of the same numbers depends on how many rows a library adds up at once.
    """

    spec: VersionSpec
    inputs: list[dict[str, Any]]
    spoil: Callable[[Any], Any]
    build: Callable[[Path], None] | None = None
    same: Callable[[Any, Any], bool] = operator.eq

    def built(self, folder: Path) -> Case:
        """This case with a version whose model is there."""
        if self.build is None:
            return self
        self.build(folder)
        return replace(self, spec=replace(self.spec, path=str(folder)))

    def __str__(self) -> str:
        return f"{self.spec.model_type}-{self.spec.engine}"


ECHO = Case(
    spec=VersionSpec(id="1", model="demo/echo", model_type="echo", engine="builtin", path=""),
    inputs=[{"text": "word " * count, "steps": 1 + count % 3, "file": count == 5} for count in range(8)],
    spoil=lambda prepared: prepared.model_copy(update={"fail": "spoilt"}),
)

TEXT_GENERATION = Case(
    spec=VersionSpec(
        id="2",
        model="demo/recital",
        model_type="text-generation",
        engine="transformers",
        path=str(RECITAL),
        options={"threads": 1},
    ),
    inputs=[
        {"prompt": "Alice was beginning", "max_new_tokens": 24, "temperature": 0},
        {"prompt": "x", "max_new_tokens": 20, "temperature": 2, "top_p": 1, "seed": 1},
        {"prompt": "There was nothing so very remarkable in that", "max_new_tokens": 9, "seed": 2},
        {"prompt": "?!", "max_new_tokens": 30, "temperature": 1.5, "top_k": 5, "seed": 3},
        {"prompt": "Oh dear!", "max_new_tokens": 16, "temperature": 0, "repetition_penalty": 1.3},
        {"prompt": "a White Rabbit", "max_length": 40, "temperature": 1.7, "seed": 4, "stop": " "},
        {"prompt": "qqqq", "max_new_tokens": 12, "repetition_penalty": 1.5, "temperature": 1, "seed": 5},
        {"prompt": "her sister on the bank", "max_new_tokens": 5, "temperature": 2, "seed": 6},
    ],
    spoil=lambda row: replace(row, ids=[1_000_000]),  # no such token
)

SPOKEN: list[dict[str, Any]] = [
    {},
    {"language": "german", "timestamps": "word"},
    {"task": "translate", "timestamps": "none"},
    {"language": "ja", "temperature": 1},
    {"prompt": "Alice and the Hatter", "timestamps": "word", "temperature": 0.5},
    {"language": "fr", "prompt": "Oui.", "task": "translate"},
    {"timestamps": "none", "temperature": 1},
    {"language": "en"},
]

SPEECH_TO_TEXT = Case(
    spec=VersionSpec(
        id="3",
        model="a/whisper",
        model_type="speech-to-text",
        engine="transformers",
        path="",
        options={"threads": 1},
    ),
    inputs=[
        {"audio": whisper.data_uri(whisper.hum(0.4 + seed / 10, seed=seed)), "seed": seed, **asked}
        for seed, asked in enumerate(SPOKEN)
    ],
    spoil=lambda recording: replace(recording, features=None),
    build=whisper.build,
    same=same_numbers,
)


def _build_tiny_diffusion(folder: Path) -> None:
    from tests.model_types import tiny_diffusion  # diffusers takes a second to import

    tiny_diffusion.build(folder)


TEXT_TO_IMAGE = Case(
    spec=VersionSpec(
        id="text-to-image",
        model="test/tiny-diffusion",
        model_type="text-to-image",
        engine="diffusers",
        path="",
        options={"threads": 1},
    ),
    inputs=[
        {"prompt": f"picture {seed}", "negative_prompt": "a" * seed, "seed": seed, "num_inference_steps": 2}
        for seed in range(8)
    ],
    spoil=lambda generation: replace(generation, prompt=None),
    build=_build_tiny_diffusion,
    same=same_images,
)


def _spec(model_type: str, engine: str = "transformers") -> VersionSpec:
    return VersionSpec(
        id=f"{model_type}-{engine}",
        model=f"test/{model_type}",
        model_type=model_type,
        engine=engine,
        path="",
        options={"threads": 1},
    )


TEXTS = [tiny_encoders.sentence(words, seed=words) for words in (3, 40, 1, 12, 9, 25, 4, 30)]
EMBEDDINGS = Case(
    spec=_spec("embeddings"),
    inputs=[
        {"text": TEXTS[0]},
        {"text": TEXTS[1:4]},
        {"text": TEXTS[2], "dimensions": 17},
        {"text": TEXTS[3], "normalize": False},
        {"text": TEXTS, "prompt_name": "query"},
        {"text": TEXTS[5]},
        {"text": TEXTS[6:7]},
        {"text": TEXTS[7] * 30},
    ],
    spoil=lambda request: replace(request, rows=[{**request.rows[0], "input_ids": [1_000_000]}]),
    build=tiny_encoders.build_embedder,
    same=same_numbers,
)
SENTENCE_TRANSFORMERS = replace(
    EMBEDDINGS,
    spec=_spec("embeddings", "sentence-transformers"),
    spoil=lambda request: replace(request, rows=[replace(request.rows[0], prompt_name="spoilt")]),
)
RERANK = Case(
    spec=_spec("rerank"),
    inputs=[{"query": text, "documents": TEXTS[: index + 1]} for index, text in enumerate(TEXTS)],
    spoil=lambda request: replace(request, rows=[{**request.rows[0], "input_ids": [1_000_000]}]),
    build=tiny_encoders.build_cross_encoder,
    same=same_numbers,
)
TEXT_CLASSIFICATION = Case(
    spec=_spec("classification"),
    inputs=[{"text": text, "top_k": 1 + index % 3} for index, text in enumerate(TEXTS)],
    spoil=lambda row: replace(row, features={"input_ids": [1_000_000]}),
    build=tiny_encoders.build_classifier,
    same=same_numbers,
)

PALETTE = str(Path(custom_model.__file__).with_name("palette.py"))

CUSTOM = Case(
    spec=VersionSpec(
        id="custom",
        model="examples/palette",
        model_type="custom",
        engine="python",
        path=f"{PALETTE}:Palette",
        trust=Trust([PALETTE]),
    ),
    inputs=[
        {"image": data_uri(Image.radial_gradient("L").resize((40, 10 + index))), "colours": 1 + index}
        for index in range(8)
    ],
    spoil=lambda call: replace(call, input=None),
)

LOOKED: list[dict[str, Any]] = [
    {"prompt": "what colour is it"},
    {"prompt": "describe the big picture", "temperature": 1},
    {"prompt": "Describe a small circle", "temperature": 2, "top_k": 5},
    {"prompt": "how many you see", "temperature": 1.5, "top_p": 0.8},
    {"prompt": "is the square white", "max_new_tokens": 2},
    {"prompt": "a photo of the", "temperature": 1, "stop": ["red", "a"]},
    {"prompt": "colour of the circle", "max_new_tokens": 12},
    {"prompt": "yes it is black", "temperature": 0.5},
]
BLIP_CAPTION = Case(
    spec=_spec("image-to-text"),
    inputs=[
        {"image": data_uri(Image.new("RGB", (20 + 5 * seed, 40), (seed * 30, 90, 250))), "seed": seed}
        | {"max_new_tokens": 6, **asked}
        for seed, asked in enumerate(LOOKED)
    ],
    spoil=lambda row: replace(row, ids=[1_000_000]),
    build=seeing_models.build_blip_caption,
)
BLIP_VQA = replace(
    BLIP_CAPTION,
    spoil=lambda row: replace(row, question=[1_000_000] * len(row.question)),
    build=seeing_models.build_blip_vqa,
)
QWEN3_VL = replace(BLIP_CAPTION, build=seeing_models.build_qwen3_vl)
MOONDREAM = replace(
    BLIP_CAPTION,
    spec=replace(_spec("image-to-text", "moondream"), trust=Trust(["/"])),
    spoil=lambda row: replace(row, picture=None),
    build=tiny_moondream.build,
)

IMAGE_CLASSIFICATION = Case(
    spec=VersionSpec(
        id="image-classification",
        model="demo/digits",
        model_type="classification",
        engine="transformers",
        path=str(DIGITS),
        options={"threads": 1},
    ),
    inputs=[
        {"image": data_uri(Image.open(DIGITS / "samples" / f"{digit}.png")), "top_k": 1 + digit}
        for digit in range(8)
    ],
    spoil=lambda row: replace(row, features=None),
    same=same_numbers,
)

OBJECT_DETECTION = Case(
    spec=VersionSpec(
        id="object-detection",
        model="demo/shapes",
        model_type="object-detection",
        engine="transformers",
        path=str(SHAPES),
        options={"threads": 1},
    ),
    inputs=[
        {"image": data_uri(scene(seed).image), "confidence": 0.1 * seed, "annotate": seed == 3}
        | ({"classes": ["circle"]} if seed % 2 else {})
        for seed in range(8)
    ],
    spoil=lambda row: replace(row, features={}),
    same=same_detections,
)


def _build_tiny_yolo(folder: Path) -> None:
    from tests.model_types import tiny_yolo  # an optional library

    tiny_yolo.build(folder)


YOLO = Case(
    spec=VersionSpec(
        id="yolo",
        model="test/tiny-yolo",
        model_type="object-detection",
        engine="ultralytics",
        path="",
        options={"threads": 1, "image_size": 160},
        trust=Trust(("/",)),
    ),
    inputs=[
        {"image": data_uri(scene(seed).image.resize((160, 120))), "confidence": 0.8, "iou": 0.6}
        | ({"classes": ["11", "74"]} if seed % 2 else {})
        for seed in range(8)
    ],
    spoil=lambda row: replace(row, features=None),
    build=_build_tiny_yolo,
    same=same_detections,
)

CASES = [
    EMBEDDINGS,
    SENTENCE_TRANSFORMERS,
    RERANK,
    TEXT_CLASSIFICATION,
    ECHO,
    TEXT_GENERATION,
    SPEECH_TO_TEXT,
    TEXT_TO_IMAGE,
    CUSTOM,
    BLIP_CAPTION,
    BLIP_VQA,
    QWEN3_VL,
    MOONDREAM,
    IMAGE_CLASSIFICATION,
    OBJECT_DETECTION,
    YOLO,
]
