"""The engine of echo: no weights, and a session in which predictions join and leave at any step."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from model_types.base import Failure, ModelType, OutputFile, Pass, Tell, VersionSpec
from model_types.batching import Bound
from model_types.echo import Input


@dataclass(slots=True)
class Progress:
    """One echo on its way."""

    input: Input
    steps_left: int
    tell: Tell | None = None
    told: int = 0

    @property
    def pause_seconds(self) -> float:
        """How long each of its steps takes."""
        return self.input.sleep / self.input.steps

    @property
    def share(self) -> float:
        """How far it has come, 0 to 1."""
        return 1 - self.steps_left / self.input.steps

    def step(self) -> None:
        """Do one of its steps, and tell the part of the text that has come with it."""
        self.steps_left -= 1
        if self.input.log is not None:
            print(self.input.log)  # noqa: T201 - what a model prints becomes its logs
        if self.tell is not None and not self.input.file:
            text = self.input.text
            end = len(text) * (self.input.steps - self.steps_left) // self.input.steps
            self.tell(self.told, text[self.told : end])
            self.told = end

    def outcome(self) -> str | OutputFile | Failure:
        """What it comes to in the end."""
        if self.input.fail is not None:
            return Failure("model_error", self.input.fail)
        if self.input.file:
            return OutputFile("echo.txt", "text/plain", self.input.text.encode())
        return self.input.text


class EchoSession:
    """Each step moves all members by one of their own steps; they sleep together, as a batch computes."""

    def __init__(self, *, max_batch: int) -> None:
        self._max_batch = max_batch
        self._members: dict[str, Progress] = {}
        self._passes: list[Pass] = []

    def __len__(self) -> int:
        return len(self._members)

    def waiting(self) -> Collection[str]:
        return ()

    def passes(self) -> Sequence[Pass]:
        passes, self._passes = self._passes, []
        return passes

    def shorten(self, padded: int) -> None:
        """All members move at each step."""

    def room(self) -> int:
        return self._max_batch - len(self._members)

    def add(self, key: str, prepared: Input) -> None:
        self._members[key] = Progress(prepared, steps_left=prepared.steps)

    def cancel(self, key: str) -> None:
        self._members.pop(key, None)

    def listen(self, key: str, tell: Tell) -> None:
        if (member := self._members.get(key)) is not None:
            member.tell = tell

    def progress(self) -> Mapping[str, float]:
        return {key: member.share for key, member in list(self._members.items())}

    def step(self) -> Mapping[str, Any | Failure]:
        members = list(self._members.items())
        rows = len(members)
        if members:
            bound: Bound = "full" if rows == self._max_batch else "idle"
            self._passes.append(Pass(rows, self._max_batch, rows, rows, bound))
        if any(member.input.crash for _, member in members):
            os.kill(os.getpid(), signal.SIGKILL)
        pause_seconds = max((member.pause_seconds for _, member in members), default=0.0)
        if pause_seconds > 0:
            time.sleep(pause_seconds)
        finished: dict[str, Any | Failure] = {}
        for key, member in members:
            member.step()
            # Only what is still a member: another thread may have cancelled it meanwhile.
            if member.steps_left == 0 and self._members.pop(key, None) is not None:
                finished[key] = member.outcome()
        return finished


class Echo(ModelType):
    """Gives its text back."""

    def load(self, version: VersionSpec, device: str) -> None:
        self.spec = version

    def prepare(self, value: Any) -> Input:
        return Input.model_validate(value)

    def session(self) -> EchoSession:
        return EchoSession(max_batch=self.max_batch)

    def predict(self, batch: Sequence[Input]) -> Sequence[str | OutputFile | Failure]:
        session = EchoSession(max_batch=len(batch))
        for index, item in enumerate(batch):
            session.add(str(index), item)
        outcomes: dict[str, Any | Failure] = {}
        while session:
            outcomes |= session.step()
        return [outcomes[str(index)] for index in range(len(batch))]
