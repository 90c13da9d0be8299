"""Lets torchvision be imported where its compiled operators do not load, as beside a CPU build of PyTorch.

The wheels of torchvision on PyPI are built against CUDA. Beside another build of PyTorch they cannot be
imported at all, because they describe `torchvision::nms` to PyTorch before they know whether it is there; and
whatever else imports torchvision where it finds it, as transformers and ultralytics do, falls with them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_EXTENSION = "torchvision.extension"


def install() -> None:
    """Have torchvision mended when it is first imported, if it needs it; until then this costs nothing.

    Non-maximum suppression then runs in PyTorch, on the CPU. The other compiled operators stay away: those
    of `torchvision.io`, position-sensitive pooling, deformable convolution.
    """
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    """Finds the module that loads the compiled operators, and leaves all others to those who come after."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != _EXTENSION:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Mending(spec.loader)
        return spec


class _Mending(Loader):
    """Loads that module as ever, and defines what it has not found."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        if not module._has_ops():
            _define_operators(module)


def _define_operators(extension: ModuleType) -> None:
    """Define what `import torchvision` needs; the operators live as long as `extension` does."""
    from torch.library import Library

    library = Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):  # the second, for quantised tensors, only needs to be known
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.impl("nms", nms, "CPU")
    vars(extension).update(_library=library, _assert_has_ops=lambda: None)


def nms(boxes: torch.Tensor, scores: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    """Greedy non-maximum suppression: which of [n, 4] boxes (corners) remain, by falling score, [kept].

    A box goes where a better one that remains overlaps it by more than `iou_threshold`, as intersection over
    union.
    """
    import numpy as np
    import torch

    order = scores.argsort(descending=True, stable=True)
    corners = boxes[order].float().numpy()  # quicker than PyTorch at many small steps
    low, high = corners[:, :2], corners[:, 2:]
    areas = (high - low).prod(axis=1)
    kept = np.ones(len(corners), dtype=bool)
    for best in range(len(corners)):
        if kept[best]:
            rest = slice(best + 1, None)
            sides = np.minimum(high[best], high[rest]) - np.maximum(low[best], low[rest])
            shared = sides.clip(min=0).prod(axis=1)
            kept[rest] &= shared <= iou_threshold * (areas[best] + areas[rest] - shared)
    return order[torch.from_numpy(kept)]
