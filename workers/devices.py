"""On which device a lane computes."""

from __future__ import annotations

import importlib.util


def choose_device(*, enable_gpu: bool) -> str:
    """Return cuda:0 or mps where torch finds one and it is wanted, else cpu. For lanes: imports torch."""
    if not enable_gpu or importlib.util.find_spec("torch") is None:
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda:0"
    if torch.backends.mps.is_available():
        return "mps"
    return "cpu"
