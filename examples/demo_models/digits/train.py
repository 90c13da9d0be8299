"""Teach a tiny ResNet to read handwritten digits, and save it as a Hugging Face folder."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from transformers import AutoModelForImageClassification, ResNetConfig, ResNetForImageClassification
from transformers import ViTImageProcessorPil as ImageProcessor

HERE = Path(__file__).parent
SIDE = 32
HELD_OUT = 360
BATCH = 32
# What stands for full ink in the data set.
FULL_INK = 16


def digits() -> tuple[list[Image.Image], torch.Tensor]:
    """The 1,797 digits of scikit-learn, 8 by 8 pixels in RGB, and what they are, [1797]."""
    data = load_digits()
    pixels = (data.images * 255 / FULL_INK).round().astype("uint8")
    return [Image.fromarray(digit).convert("RGB") for digit in pixels], torch.tensor(data.target)


def new_model() -> ResNetForImageClassification:
    """About 80 thousand parameters in three stages."""
    return ResNetForImageClassification(
        ResNetConfig(
            embedding_size=16,
            hidden_sizes=[16, 32, 64],
            depths=[1, 1, 1],
            layer_type="basic",
            id2label={digit: str(digit) for digit in range(10)},
            label2id={str(digit): digit for digit in range(10)},
        )
    )


def train(
    model: Any, pixels: torch.Tensor, labels: torch.Tensor, *, epochs: int, learning_rate: float
) -> None:
    steps = epochs * -(-len(labels) // BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=learning_rate, total_steps=steps)
    model.train()
    started = time.monotonic()
    for epoch in range(1, epochs + 1):
        order = torch.randperm(len(labels))
        for start in range(0, len(labels), BATCH):
            chosen = order[start : start + BATCH]
            loss = model(pixel_values=pixels[chosen], labels=labels[chosen]).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        print(
            f"epoch {epoch}/{epochs}  loss {loss.item():.4f}  {time.monotonic() - started:.0f} s", flush=True
        )


@torch.inference_mode()
def accuracy(model: Any, pixels: torch.Tensor, labels: torch.Tensor) -> float:
    """The share of digits read right."""
    return float((model.eval()(pixel_values=pixels).logits.argmax(dim=1) == labels).float().mean())


def save_samples(images: list[Image.Image], labels: torch.Tensor, folder: Path) -> None:
    """The first of each digit as a file."""
    folder.mkdir(exist_ok=True)
    for digit in range(10):
        images[labels.tolist().index(digit)].convert("L").save(folder / f"{digit}.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=HERE, help="folder of the model")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=1797)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    torch.set_num_threads(arguments.threads)

    images, labels = digits()
    known, held_out = train_test_split(
        range(len(labels)), test_size=HELD_OUT, stratify=labels, random_state=arguments.seed
    )
    processor = ImageProcessor(size={"height": SIDE, "width": SIDE})
    pixels = processor(images, return_tensors="pt")["pixel_values"]
    model = new_model()
    print(f"{model.num_parameters():,} parameters, {len(known)} digits to learn from")
    train(model, pixels[known], labels[known], epochs=arguments.epochs, learning_rate=arguments.learning_rate)

    model.half().save_pretrained(arguments.output)
    processor.save_pretrained(arguments.output)
    save_samples([images[place] for place in held_out], labels[held_out], arguments.output / "samples")
    reader = AutoModelForImageClassification.from_pretrained(arguments.output, dtype=torch.float32)
    share = accuracy(reader, pixels[held_out], labels[held_out])
    print(f"{share:.1%} of {HELD_OUT} digits that it has not seen are read right")


if __name__ == "__main__":
    main()
