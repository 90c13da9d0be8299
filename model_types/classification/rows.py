"""One row of a batch, and what the engine asks of each kind of checkpoint."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from model_types.classification.schema import Input


@dataclass(frozen=True, slots=True)
class Row:
    """A prepared input: `features` are the kind's own (token ids, pixels), `size` is what padding counts.

    Rows share a pass only where their `key` is the same. `tokens` are those of a text.
    """

    features: Any
    top_k: int
    size: int = 1
    key: Hashable = None
    tokens: int | None = None


class Classifier(Protocol):
    """A loaded checkpoint of one kind: of text or of images."""

    model: Any
    pass_rows: int
    pass_budget: int
    pass_waste: float

    def prepare(self, request: Input) -> Row:
        """What `logits` takes. Raises `ValueError` where this kind cannot take the input."""
        ...

    def logits(self, rows: Sequence[Row]) -> Tensor:
        """The scores of all labels, [rows, labels]; at least one row."""
        ...

    def blank(self) -> Row:
        """A small row to warm up with."""
        ...
