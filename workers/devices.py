"""On which device a lane computes."""

from __future__ import annotations

import sys


def choose_device(*, enable_gpu: bool) -> str:
    """Return cuda:0 or mps where torch finds one and it is wanted, else cpu.

    An engine that uses torch has imported it by now; nobody else should pay for the import.
    """
    torch = sys.modules.get("torch")
    if not enable_gpu or torch is None:
        return "cpu"
    if torch.cuda.is_available():
        return "cuda:0"
    if torch.backends.mps.is_available():
        return "mps"
    return "cpu"
