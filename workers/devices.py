"""On which device a lane computes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from model_types.errors import ModelUnavailable

#: What MODEL_DEVICE may be, as a regular expression.
DEVICE = r"^(auto|cpu|mps|cuda(:\d+)?)$"

# Where a driver shows that there is a GPU: NVIDIA's, AMD's, and that of Windows' Linux.
_DRIVERS = (Path("/dev/nvidiactl"), Path("/dev/kfd"), Path("/dev/dxg"))


@dataclass(frozen=True, slots=True)
class Accelerators:
    """What torch can use here: so many CUDA devices, and Apple's GPU or not."""

    cuda: int = 0
    mps: bool = False


def accelerators() -> Accelerators:
    """What there is. torch, which takes a second to import, is asked only where there may be something."""
    may_be_there = sys.platform == "darwin" or any(driver.exists() for driver in _DRIVERS)
    if not may_be_there and "torch" not in sys.modules:
        return Accelerators()
    try:
        torch = import_module("torch")
    except ImportError:
        return Accelerators()
    cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return Accelerators(cuda, torch.backends.mps.is_available())


def device_kind(wanted: str, *, slot: int, find: Callable[[], Accelerators] = accelerators) -> str:
    """`cpu`, `cuda` or `mps`, which `choose_device` would choose; empty where it would raise."""
    try:
        return choose_device(wanted, slot=slot, find=find).partition(":")[0]
    except ModelUnavailable:
        return ""


def choose_device(wanted: str, *, slot: int, find: Callable[[], Accelerators] = accelerators) -> str:
    """The torch device that `wanted` means to the lane in this slot of its worker.

    `auto` takes the best there is; `cuda` and `auto` spread the lanes over all CUDA devices. Raises
    `ModelUnavailable` where the device that is asked for is not there.
    """
    if wanted == "cpu":
        return "cpu"
    found = find()
    if wanted in ("auto", "cuda") and found.cuda:
        return f"cuda:{slot % found.cuda}"
    if wanted in ("auto", "mps") and found.mps:
        return "mps"
    if wanted == "auto":
        return "cpu"
    kind, _, index = wanted.partition(":")
    if kind == "cuda" and index and int(index) < found.cuda:
        return wanted
    there = ", ".join([*(f"cuda:{number}" for number in range(found.cuda)), *["mps"] * found.mps, "cpu"])
    raise ModelUnavailable(f"MODEL_DEVICE is {wanted}, but this machine has only {there}")
