"""Recordings that are heard window by window, so that short ones need not wait for long ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from model_types.base import Failure, Tell
from model_types.batching import BatchSession
from model_types.speech_to_text.recording import Recording

if TYPE_CHECKING:
    from model_types.speech_to_text.transformers import Transformers


class WindowSession(BatchSession):
    """Each `step()` is one pass over the next windows of some recordings; others join between two passes."""

    def __init__(self, engine: Transformers) -> None:
        super().__init__(engine, predict=engine.hear)
        self._recordings: dict[str, Recording] = {}

    def add(self, key: str, prepared: Recording) -> None:
        self._recordings[key] = prepared
        super().add(key, prepared)

    def cancel(self, key: str) -> None:
        self._recordings.pop(key, None)
        super().cancel(key)

    def listen(self, key: str, tell: Tell) -> None:
        # Also between two of its windows, when it is in no pass.
        if (recording := self._recordings.get(key)) is not None:
            self._engine.listen(recording, tell)

    def step(self) -> Mapping[str, Any | Failure]:
        finished: dict[str, Any | Failure] = {}
        for key, outcome in super().step().items():
            if isinstance(outcome, Recording):
                super().add(key, outcome)
            else:
                self._recordings.pop(key, None)
                finished[key] = outcome
        return finished
