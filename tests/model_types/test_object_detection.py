"""Object detection: the right things at the right places, whatever the library and the architecture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from itertools import combinations
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from PIL import Image, ImageColor, UnidentifiedImageError
from transformers import (
    AutoModelForObjectDetection,
    DetrConfig,
    DetrImageProcessorPil,
    DFineConfig,
    HGNetV2Config,
    ResNetConfig,
    RTDetrImageProcessorPil,
    YolosConfig,
    YolosImageProcessorPil,
)

from examples.demo_models.shapes.scenes import scene
from model_types import registry
from model_types.base import Failure, ModelType, ModelUnavailable, OutputFile, VersionSpec
from model_types.media import InputFile
from model_types.object_detection.drawing import colour_of
from model_types.object_detection.schema import Input
from model_types.object_detection.ultralytics import imported
from model_types.trust import Trust, digest_of
from tests.model_types import tiny_yolo
from tests.model_types.cases import OBJECT_DETECTION, YOLO
from tests.model_types.detections import intersection_over_union, same_detections

# Scenes of larger numbers were held out of the training.

pytestmark = pytest.mark.slow

UNSEEN = 1_000_000_000


def asked(image: Image.Image, **more: Any) -> Input:
    return Input(image=InputFile("scene", "image", content=image), **more)


def found(engine: ModelType, *inputs: Input) -> list[dict[str, Any]]:
    outputs = engine.predict([engine.prepare(value) for value in inputs])
    assert not any(isinstance(output, Failure) for output in outputs)
    return cast(list[dict[str, Any]], outputs)


def total(outputs: list[dict[str, Any]]) -> int:
    """How many objects were found in all."""
    return sum(len(output["detections"]) for output in outputs)


def loaded(spec: VersionSpec) -> ModelType:
    engine = registry.engine(spec)
    engine.load(spec, "cpu")
    return engine


@pytest.fixture(scope="module")
def detector() -> Iterator[ModelType]:
    """The shipped model, which knows circles and squares."""
    engine = loaded(OBJECT_DETECTION.spec)
    yield engine
    engine.unload()


@pytest.fixture(scope="module")
def yolo_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of ultralytics, which is a pickle."""
    folder = tmp_path_factory.mktemp("yolo")
    tiny_yolo.build(folder)
    return folder / "tiny.pt"


@pytest.fixture(scope="module")
def yolo(yolo_file: Path) -> Iterator[ModelType]:
    engine = loaded(replace(YOLO.spec, path=str(yolo_file)))
    yield engine
    engine.unload()


def test_circles_and_squares_are_found_where_they_are(detector: ModelType) -> None:
    scenes = [scene(UNSEEN + number) for number in range(20)]
    outputs = found(detector, *[asked(truth.image) for truth in scenes])
    overlaps = [
        max(
            intersection_over_union(detection["box"], shape.box)
            for detection in output["detections"]
            if detection["label"] == shape.label
        )
        for truth, output in zip(scenes, outputs, strict=True)
        for shape in truth.shapes
    ]
    assert total(outputs) <= 1.05 * len(overlaps)  # and next to nothing else
    assert min(overlaps) > 0.7
    assert sum(overlap >= 0.8 for overlap in overlaps) > 0.9 * len(overlaps)


def test_boxes_are_in_pixels_of_the_image_that_came(detector: ModelType) -> None:
    truth = scene(UNSEEN)
    width, height = truth.image.size
    small, large = found(detector, asked(truth.image), asked(truth.image.resize((3 * width, 2 * height))))
    assert (large["width"], large["height"]) == (3 * width, 2 * height)
    shrunk = [
        [left / 3, top / 2, right / 3, bottom / 2]
        for left, top, right, bottom in (detection["box"] for detection in large["detections"])
    ]
    for box, detection in zip(shrunk, small["detections"], strict=True):
        assert intersection_over_union(box, detection["box"]) > 0.9


def test_what_was_found_twice_is_given_back_once(detector: ModelType) -> None:
    images = [scene(UNSEEN + number).image for number in range(20)]
    once = found(detector, *[asked(image, confidence=0.3) for image in images])
    twice = found(detector, *[asked(image, confidence=0.3, iou=1) for image in images])
    assert total(twice) > total(once)
    for output in once:
        pairs = combinations(output["detections"], 2)
        assert all(
            intersection_over_union(one["box"], other["box"]) <= 0.7
            for one, other in pairs
            if one["label"] == other["label"]
        )


def test_only_the_classes_that_were_asked_for_are_given_back(detector: ModelType) -> None:
    image = next(
        truth.image
        for truth in map(scene, range(UNSEEN, UNSEEN + 50))
        if {shape.label for shape in truth.shapes} == {"circle", "square"}
    )
    everything, circles = found(detector, asked(image), asked(image, classes=["circle"]))
    assert {detection["label"] for detection in everything["detections"]} == {"circle", "square"}
    assert {detection["label"] for detection in circles["detections"]} == {"circle"}


def test_a_class_that_the_model_does_not_know_is_named(detector: ModelType) -> None:
    with pytest.raises(ValueError, match="does not know the class 'dog'; it knows: circle, square"):
        detector.prepare(asked(scene(0).image, classes=["circle", "dog"]))


def test_each_gets_what_is_surer_than_it_asked_for(detector: ModelType) -> None:
    image = scene(UNSEEN + 3).image
    outputs = found(detector, *[asked(image, confidence=confidence) for confidence in (0.0, 0.2, 0.5, 1.0)])
    scores = [[detection["score"] for detection in output["detections"]] for output in outputs]
    assert len(scores[0]) > len(scores[1]) >= len(scores[2]) > len(scores[3]) == 0
    assert all(some == sorted(some, reverse=True) for some in scores)
    assert min(scores[1]) > 0.2
    assert min(scores[2]) > 0.5


def test_boxes_do_not_reach_beyond_the_image(detector: ModelType) -> None:
    image = scene(UNSEEN).image
    (output,) = found(detector, asked(image, confidence=0))
    for detection in output["detections"]:
        left, top, right, bottom = detection["box"]
        assert 0 <= left <= right <= image.width
        assert 0 <= top <= bottom <= image.height


def test_the_drawn_image_shows_the_boxes_in_the_colours_of_their_labels(detector: ModelType) -> None:
    image = scene(UNSEEN).image
    before = image.copy()
    (output,) = found(detector, asked(image, annotate=True))
    assert image == before
    file = output["image"]
    assert isinstance(file, OutputFile)
    assert file.media_type == "image/jpeg"
    with Image.open(BytesIO(file.data)) as drawn:
        assert drawn.size == image.size
        for detection in output["detections"]:
            _, top, right, bottom = (int(edge) for edge in detection["box"])
            edge = drawn.getpixel((right - 1, (top + bottom) // 2))
            assert isinstance(edge, tuple)
            wanted = ImageColor.getrgb(colour_of(detection["label"]))
            assert max(abs(a - b) for a, b in zip(edge, wanted, strict=True)) < 60


def test_nothing_is_drawn_unasked(detector: ModelType) -> None:
    (output,) = found(detector, asked(scene(UNSEEN).image))
    assert output["image"] is None


def _yolos() -> tuple[Any, Any]:
    config = YolosConfig(
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=[64, 96],
        num_detection_tokens=5,
    )
    return config, YolosImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 96})


def _detr() -> tuple[Any, Any]:
    backbone = ResNetConfig.from_dict(
        {
            "embedding_size": 8,
            "hidden_sizes": [8, 16],
            "depths": [1, 1],
            "layer_type": "basic",
            "out_features": ["stage2"],
        }
    )
    config = DetrConfig.from_dict(
        {
            "use_timm_backbone": False,
            "backbone_config": backbone,
            "d_model": 32,
            "encoder_layers": 1,
            "decoder_layers": 1,
            "encoder_attention_heads": 2,
            "decoder_attention_heads": 2,
            "encoder_ffn_dim": 32,
            "decoder_ffn_dim": 32,
            "num_queries": 5,
        }
    )
    return config, DetrImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 96})


def _d_fine() -> tuple[Any, Any]:
    backbone = HGNetV2Config.from_dict(
        {
            "stem_channels": [3, 8, 8],
            "stage_in_channels": [8, 16, 16, 32],
            "stage_mid_channels": [8, 8, 16, 16],
            "stage_out_channels": [16, 16, 32, 32],
            "stage_num_blocks": [1, 1, 1, 1],
            "stage_numb_of_layers": [1, 1, 1, 1],
            "hidden_sizes": [16, 16, 32, 32],
            "out_features": ["stage3", "stage4"],
        }
    )
    config = DFineConfig(
        backbone_config=backbone,
        encoder_in_channels=[32, 32],
        encoder_hidden_dim=32,
        encoder_ffn_dim=32,
        encoder_attention_heads=2,
        encode_proj_layers=[1],
        feat_strides=[16, 32],
        num_feature_levels=2,
        decoder_n_points=[2, 2],
        d_model=32,
        decoder_in_channels=[32, 32],
        decoder_ffn_dim=32,
        decoder_layers=2,
        decoder_attention_heads=2,
        num_queries=5,
    )
    return config, RTDetrImageProcessorPil(size={"height": 64, "width": 64})


@pytest.mark.parametrize("make", [_yolos, _detr, _d_fine])
def test_detectors_of_other_architectures_are_served_as_well(make: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config, processor = make()
    AutoModelForObjectDetection.from_config(config).save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    engine = loaded(replace(OBJECT_DETECTION.spec, path=str(tmp_path)))
    # Some processors keep proportions, so that not all of these can share a pass.
    images = [Image.new("RGB", size) for size in ((64, 64), (96, 64), (128, 128), (64, 96))]
    session = engine.session()
    for index, image in enumerate(images):
        session.add(str(index), engine.prepare(asked(image, confidence=0)))
    outputs: dict[str, Any] = {}
    while len(session):
        outputs |= session.step()
    for index, image in enumerate(images):
        output = outputs[str(index)]
        assert not isinstance(output, Failure), output
        assert (output["width"], output["height"]) == image.size
        assert output["detections"]
    engine.unload()


def test_yolo_finds_what_its_library_finds(yolo: ModelType, yolo_file: Path) -> None:
    images = [scene(number).image for number in range(4)]
    outputs = found(yolo, *[asked(image, confidence=0.7) for image in images])
    original = imported().YOLO(yolo_file)
    for image, output in zip(images, outputs, strict=True):
        (result,) = original.predict(image, imgsz=160, conf=0.7, iou=0.7, verbose=False)
        expected = {
            "detections": [
                {"label": original.names[int(label)], "score": score, "box": box}
                for label, score, box in zip(
                    result.boxes.cls.tolist(),
                    result.boxes.conf.tolist(),
                    result.boxes.xyxy.tolist(),
                    strict=True,
                )
            ],
            "width": image.width,
            "height": image.height,
            "image": None,
        }
        assert expected["detections"]
        assert same_detections(output, expected)


def test_a_higher_iou_keeps_more_overlapping_boxes(yolo: ModelType) -> None:
    rows = [yolo.prepare(asked(scene(1).image, confidence=0.7, iou=iou)) for iou in (0.3, 0.9)]
    assert yolo.batch_key(rows[0]) != yolo.batch_key(rows[1])
    few, many = (cast(dict[str, Any], yolo.predict([row])[0]) for row in rows)
    assert total([few]) < total([many])


def test_a_pickle_is_loaded_only_where_it_is_trusted(yolo_file: Path) -> None:
    spec = replace(YOLO.spec, path=str(yolo_file), trust=Trust())
    with pytest.raises(ModelUnavailable, match="needs unpickling, which can run any code: an administrator"):
        loaded(spec)
    with pytest.raises(ModelUnavailable, match="TRUSTED_MODELS"):
        loaded(replace(spec, trust=Trust(("acme/", "sha256:" + 64 * "0"))))
    loaded(replace(spec, trust=Trust((digest_of(yolo_file),)))).unload()


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("yolov8n.pt", "yolov8n.pt is not a file on this machine"),
        ("./yolov8n.pt", "yolov8n.pt is not a file on this machine"),
        ("/nowhere/yolov8n.pt", "/nowhere/yolov8n.pt is not a file on this machine"),
        ("acme/detector", "acme/detector is no .pt file"),
        ("acme/detector/best.pt", "acme/detector/best.pt cannot be loaded"),
    ],
)
def test_what_is_not_there_is_not_fetched_by_the_library(path: str, reason: str) -> None:
    trust = Trust(("/", "acme", "yolov8n.pt"))
    spec = replace(YOLO.spec, path=path, trust=trust, revision="1" * 40, may_download=False)
    with pytest.raises(ModelUnavailable, match=reason):
        loaded(spec)


def test_a_folder_of_several_checkpoints_does_not_say_which(tmp_path: Path) -> None:
    for name in ("one.pt", "two.pt"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(ModelUnavailable, match=r"has 2 \.pt files: name the one to load"):
        loaded(replace(YOLO.spec, path=str(tmp_path)))


def test_a_file_that_is_no_checkpoint_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "broken.pt").write_bytes(b"not a pickle")
    with pytest.raises(ModelUnavailable, match="cannot be loaded") as failure:
        loaded(replace(YOLO.spec, path=str(tmp_path)))
    assert "\n" not in str(failure.value)


def test_ultralytics_leaves_pillow_as_it_is() -> None:
    imported()
    assert Image.open.__module__ == "PIL.Image"
    with pytest.raises(UnidentifiedImageError):
        Image.open(BytesIO(b"no image"))
