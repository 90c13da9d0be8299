"""Recordings that are heard window by window, so that short ones need not wait for long ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from model_types.base import Failure
from model_types.batching import BatchSession
from model_types.speech_to_text.recording import Recording

if TYPE_CHECKING:
    from model_types.speech_to_text.transformers import Transformers


class WindowSession(BatchSession):
    """Each `step()` is one pass over the next windows of some recordings; others join between two passes."""

    def __init__(self, engine: Transformers) -> None:
        super().__init__(engine, predict=engine.hear)

    def step(self) -> Mapping[str, Any | Failure]:
        finished: dict[str, Any | Failure] = {}
        for key, outcome in super().step().items():
            if isinstance(outcome, Recording):
                self.add(key, outcome)
            else:
                finished[key] = outcome
        return finished
