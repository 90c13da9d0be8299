"""Teach a tiny RT-DETR to find circles and squares, and save it as a Hugging Face folder."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import (
    RTDetrConfig,
    RTDetrForObjectDetection,
    RTDetrImageProcessorPil,
    RTDetrResNetConfig,
)

from examples.demo_models.shapes.scenes import LABELS, Scene, scene

HERE = Path(__file__).parent
SIDE = 128
HELD_OUT = 500
# Scenes are numbered: those for training from the seed on, those held out from here.
FIRST_HELD_OUT = 1_000_000_000


def new_model() -> RTDetrForObjectDetection:
    """About 0.4 million parameters: a residual network of three stages, two layers that decode."""
    stages = [16, 32, 64]
    levels = 2  # of features: at an eighth and at a sixteenth of the image's size
    width = 64
    backbone = RTDetrResNetConfig.from_dict(
        {
            "embedding_size": 16,
            "hidden_sizes": stages,
            "depths": [1] * len(stages),
            "layer_type": "basic",
            "out_features": ["stage2", "stage3"],
        }
    )
    return RTDetrForObjectDetection(
        RTDetrConfig(
            backbone_config=backbone,
            freeze_backbone_batch_norms=False,
            encoder_hidden_dim=width,
            encoder_in_channels=stages[-levels:],
            encoder_ffn_dim=2 * width,
            encoder_attention_heads=4,
            hidden_expansion=0.5,
            d_model=width,
            decoder_in_channels=[width] * levels,
            decoder_ffn_dim=2 * width,
            decoder_layers=2,
            decoder_attention_heads=4,
            num_queries=20,
            num_denoising=20,
            num_feature_levels=levels,
            feat_strides=[8, 16],
            encode_proj_layers=[levels - 1],
            id2label=dict(enumerate(LABELS)),
            label2id={label: id for id, label in enumerate(LABELS)},
        )
    )


def targets_of(scenes: Sequence[Scene]) -> list[dict[str, torch.Tensor]]:
    """What the loss compares with: labels, and boxes as centre and size in shares of the image."""
    targets = []
    for found in scenes:
        width, height = found.image.size
        corners = torch.tensor([shape.box for shape in found.shapes], dtype=torch.float32)
        corners /= torch.tensor([width, height, width, height])
        centres, sizes = (corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]
        labels = torch.tensor([LABELS.index(shape.label) for shape in found.shapes])
        targets.append({"class_labels": labels, "boxes": torch.cat([centres, sizes], dim=1)})
    return targets


def train(model: Any, processor: Any, *, steps: int, batch: int, learning_rate: float, seed: int) -> None:
    """No scene is seen twice."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=learning_rate, total_steps=steps, pct_start=0.1
    )
    model.train()
    started = time.monotonic()
    for step in range(1, steps + 1):
        first = seed + (step - 1) * batch
        scenes = [scene(number) for number in range(first, first + batch)]
        pixels = processor([scene.image for scene in scenes], return_tensors="pt")["pixel_values"]
        loss = model(pixel_values=pixels, labels=targets_of(scenes)).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        optimizer.step()
        schedule.step()
        if step % 100 == 0 or step == steps:
            seconds = time.monotonic() - started
            print(f"step {step}/{steps}  loss {loss.item():.3f}  {seconds:.0f} s", flush=True)


@torch.inference_mode()
def detect(model: Any, processor: Any, scenes: Sequence[Scene]) -> list[dict[str, torch.Tensor]]:
    """Scores, labels and boxes (corners in pixels) in each scene."""
    found: list[dict[str, torch.Tensor]] = []
    for start in range(0, len(scenes), 50):
        images = [scene.image for scene in scenes[start : start + 50]]
        outputs = model(**processor(images, return_tensors="pt"))
        sizes = [(image.height, image.width) for image in images]
        found += processor.post_process_object_detection(outputs, threshold=0.01, target_sizes=sizes)
    return found


def intersection_over_union(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Of each of [n, 4] boxes with each of [m, 4], [n, m]."""
    corner = torch.maximum(one[:, None, :2], other[None, :, :2])
    opposite = torch.minimum(one[:, None, 2:], other[None, :, 2:])
    shared = (opposite - corner).clamp(min=0).prod(dim=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(dim=1) for boxes in (one, other)]
    return shared / (areas[0][:, None] + areas[1][None, :] - shared)


def judged(
    truth: Scene, result: dict[str, torch.Tensor], label: str, overlap: float
) -> list[tuple[float, bool]]:
    """The score of each detection of a label, and whether it is right.

    It is where it overlaps a shape of that label by `overlap`, and none with a better score has taken it.
    """
    boxes = torch.tensor([shape.box for shape in truth.shapes if shape.label == label]).view(-1, 4)
    of_label = result["labels"] == LABELS.index(label)
    scores, order = result["scores"][of_label].sort(descending=True)
    overlaps = intersection_over_union(result["boxes"][of_label][order], boxes.float())
    verdicts = []
    for place, score in enumerate(scores.tolist()):
        best = int(overlaps[place].argmax()) if len(boxes) else 0
        right = len(boxes) > 0 and bool(overlaps[place, best] >= overlap)
        if right:
            overlaps[:, best] = 0
        verdicts.append((score, right))
    return verdicts


def average_precision(
    scenes: Sequence[Scene], found: Sequence[dict[str, torch.Tensor]], label: str, overlap: float
) -> float:
    """The area under the curve of precision over recall for one label (PASCAL VOC 2010, all points)."""
    total = sum(shape.label == label for truth in scenes for shape in truth.shapes)
    verdicts = [
        verdict
        for truth, result in zip(scenes, found, strict=True)
        for verdict in judged(truth, result, label, overlap)
    ]
    verdicts.sort(key=lambda verdict: -verdict[0])
    hits = torch.tensor([right for _, right in verdicts]).cumsum(0)
    precision = hits / torch.arange(1, len(hits) + 1)
    envelope = precision.flip(0).cummax(0).values.flip(0)
    recall = torch.cat([torch.zeros(1), hits / total])
    return float((recall.diff() * envelope).sum())


def report(model: Any, processor: Any) -> None:
    """Print the mean average precision over the labels, on scenes that training has not seen."""
    scenes = [scene(number) for number in range(FIRST_HELD_OUT, FIRST_HELD_OUT + HELD_OUT)]
    found = detect(model, processor, scenes)
    for overlap in (0.5, 0.8, 0.9):
        mean = sum(average_precision(scenes, found, label, overlap) for label in LABELS) / len(LABELS)
        print(f"mAP at IoU {overlap}: {mean:.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=HERE, help="folder of the model")
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    torch.set_num_threads(arguments.threads)

    processor = RTDetrImageProcessorPil(size={"height": SIDE, "width": SIDE})
    model = new_model()
    print(f"{model.num_parameters():,} parameters")
    train(
        model,
        processor,
        steps=arguments.steps,
        batch=arguments.batch,
        learning_rate=arguments.learning_rate,
        seed=arguments.seed,
    )
    model.half().save_pretrained(arguments.output)
    processor.save_pretrained(arguments.output)
    report(RTDetrForObjectDetection.from_pretrained(arguments.output, dtype=torch.float32), processor)


if __name__ == "__main__":
    main()
