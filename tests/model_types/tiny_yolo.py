"""A small YOLO with random weights that finds things everywhere, as an ultralytics checkpoint."""

from __future__ import annotations

from pathlib import Path

import torch

from model_types.object_detection.ultralytics import imported


@torch.no_grad()
def build(folder: Path) -> None:
    """Save `tiny.pt`: 80 classes called "0" to "79"."""
    torch.manual_seed(8)
    yolo = imported().YOLO("yolov8n.yaml")
    network = yolo.model
    for layers in network.model[-1].cv3:  # what scores the classes, at each of three scales
        torch.nn.init.normal_(layers[-1].weight, std=0.2)
        torch.nn.init.constant_(layers[-1].bias, -3)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    # Once through with statistics of its own: signals fade in a network that has never been trained.
    network.train()(torch.rand(8, 3, 160, 160))
    yolo.save(folder / "tiny.pt")
