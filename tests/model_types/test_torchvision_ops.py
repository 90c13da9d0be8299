"""Torchvision where its compiled operators do not load: it can be imported, and boxes are suppressed."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from model_types import torchvision_ops

# Three boxes of 10 by 10 pixels, each 2 pixels to the right of the last, and one far away.

pytestmark = pytest.mark.slow

BOXES = torch.tensor([[0, 0, 10, 10], [2, 0, 12, 10], [4, 0, 14, 10], [50, 50, 60, 60]], dtype=torch.float32)


def test_a_worse_box_goes_where_a_better_one_overlaps_it() -> None:
    # Neighbours overlap by 8 / 12, the first and the third by 6 / 14.
    kept = torchvision_ops.nms(BOXES, torch.tensor([0.9, 0.8, 0.7, 0.1]), 0.5)
    assert kept.tolist() == [0, 2, 3]


def test_what_has_gone_suppresses_nothing() -> None:
    kept = torchvision_ops.nms(BOXES, torch.tensor([0.8, 0.9, 0.7, 0.1]), 0.5)
    assert kept.tolist() == [1, 3]


def test_an_overlap_of_the_threshold_itself_is_let_be() -> None:
    halves = torch.tensor([[0, 0, 2, 1], [0, 0, 1, 1]], dtype=torch.float32)
    assert torchvision_ops.nms(halves, torch.tensor([0.9, 0.8]), 0.5).tolist() == [0, 1]


def test_boxes_come_by_falling_score() -> None:
    kept = torchvision_ops.nms(BOXES, torch.tensor([0.1, 0.2, 0.3, 0.4]), 0.99)
    assert kept.tolist() == [3, 2, 1, 0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_no_boxes_are_no_boxes(dtype: torch.dtype) -> None:
    assert (
        torchvision_ops.nms(torch.zeros(0, 4, dtype=dtype), torch.zeros(0, dtype=dtype), 0.5).tolist() == []
    )


@pytest.mark.slow
def test_torchvision_can_be_imported_and_used() -> None:
    code = """
import sys
from model_types import torchvision_ops
torchvision_ops.install()
torchvision_ops.install()
assert "torch" not in sys.modules  # it costs nothing until then
import torch, torchvision
from torchvision.ops import batched_nms, nms
boxes = torch.tensor([[0, 0, 10, 10], [2, 0, 12, 10]], dtype=torch.float32)
scores = torch.tensor([0.8, 0.9])
assert nms(boxes, scores, 0.5).tolist() == [1]
assert batched_nms(boxes, scores, torch.tensor([0, 1]), 0.5).tolist() == [1, 0]
print("fine")
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=110)
    assert told.stdout == "fine\n", told.stderr
