"""Predictions of many parts each: a list of texts, the documents of a reranking; all parts share passes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from model_types.base import Failure, ModelType, Session, Tell
from model_types.batching import BatchSession, Pass

# On a CPU, passes of 1,024 tokens are as fast as larger ones, and end sooner.
CPU_PASS_TOKENS = 1024
DEVICE_PASS_TOKENS = 32_768
# More padding than this costs more than a fuller pass gains.
MAX_WASTE = 0.1


class PartedModelType(ModelType):
    """An engine whose rows are parts of predictions: `size` and `batch_key` are of a part.

    So a long list neither waits for one enormous pass nor makes others wait for it, and a short text fills
    up the pass of somebody else's list.
    """

    @abstractmethod
    def parts(self, prepared: Any) -> Sequence[Any]:
        """The rows of a prepared input, at least one."""

    @abstractmethod
    def predict_parts(self, parts: Sequence[Any]) -> Sequence[Any]:
        """What each part of a pass comes to. Where it raises, smaller passes are tried."""

    @abstractmethod
    def join(self, prepared: Any, results: Sequence[Any]) -> Any:
        """The output of an input whose parts have come to these results, in their order."""

    def session(self) -> Session:
        return PartSession(self)

    def predict(self, batch: Sequence[Any]) -> Sequence[Any | Failure]:
        session = self.session()
        outcomes: dict[str, Any | Failure] = {}
        for index, prepared in enumerate(batch):
            session.add(str(index), prepared)
        while len(session):
            outcomes |= session.step()
        return [outcomes[str(index)] for index in range(len(batch))]


# So many passes' worth of a prediction's parts stand in line at once: enough to find rows of like size among
# them, and few enough that who comes after a long list does not wait for its end.
PASSES_AHEAD = 4


class TokenModelType(PartedModelType):
    """An engine whose parts are texts, sized in tokens; `_model` is a module of torch's on its device."""

    _model: Any

    @property
    def pass_rows(self) -> int:
        return self._option("pass_rows", self.pass_budget)

    @property
    def pass_budget(self) -> int:
        is_cpu = self._model.device.type == "cpu"
        return self._option("pass_budget", CPU_PASS_TOKENS if is_cpu else DEVICE_PASS_TOKENS)

    @property
    def pass_waste(self) -> float:
        return MAX_WASTE

    def metrics(self, prepared: Any) -> Mapping[str, float | str]:
        return {"input_token_count": sum(map(self.size, self.parts(prepared)))}


@dataclass(slots=True)
class _Joining:
    """A prediction some of whose parts are still to come.

    The first `sent` of its parts have been sent to passes; those still on their way come to `size_underway`.
    """

    prepared: Any
    parts: Sequence[Any]
    results: list[Any]
    missing: int
    sent: int = 0
    size_underway: int = 0


class PartSession:
    """Each `step()` is one pass over parts that go well together, whosever they are."""

    def __init__(self, engine: PartedModelType) -> None:
        self._engine = engine
        self._rows = BatchSession(engine, predict=engine.predict_parts)
        self._joining: dict[str, _Joining] = {}

    def __len__(self) -> int:
        return len(self._joining)

    def waiting(self) -> Collection[str]:
        rows = self._rows.waiting()
        return [
            key
            for key, joining in list(self._joining.items())
            if all(_part_key(key, index) in rows for index in range(joining.sent))
        ]

    def passes(self) -> Sequence[Pass]:
        """The passes since this was asked last; their rows are parts."""
        return self._rows.passes()

    def shorten(self, padded: int) -> None:
        self._rows.shorten(padded)

    def room(self) -> int:
        return self._engine.max_batch - len(self)

    def add(self, key: str, prepared: Any) -> None:
        parts = self._engine.parts(prepared)
        self._joining[key] = joining = _Joining(prepared, parts, [None] * len(parts), len(parts))
        self._send(key, joining)

    def cancel(self, key: str) -> None:
        joining = self._joining.pop(key, None)
        for index in range(joining.sent if joining else 0):
            self._rows.cancel(_part_key(key, index))

    def listen(self, key: str, tell: Tell) -> None:
        """What comes in parts is put together at the end."""

    def progress(self) -> Mapping[str, float]:
        """The share of parts that are done, of predictions that have several."""
        return {
            key: 1 - joining.missing / len(joining.results)
            for key, joining in list(self._joining.items())
            if len(joining.results) > 1
        }

    def step(self) -> Mapping[str, Any | Failure]:
        finished: dict[str, Any | Failure] = {}
        for part_key, result in self._rows.step().items():
            key, _, index = part_key.rpartition("#")
            # Another thread may have cancelled it meanwhile, or another part of it has failed.
            if (joining := self._joining.get(key)) is None:
                continue
            joining.results[int(index)] = result
            joining.missing -= 1
            joining.size_underway -= self._engine.size(joining.parts[int(index)])
            if isinstance(result, Failure):
                finished[key] = result
                self.cancel(key)
            elif joining.missing == 0 and self._joining.pop(key, None) is not None:
                finished[key] = self._engine.join(joining.prepared, joining.results)
        for key, joining in list(self._joining.items()):
            self._send(key, joining)
        return finished

    def _send(self, key: str, joining: _Joining) -> None:
        """Let the next parts stand in line, behind everybody's that stand there already."""
        limit = PASSES_AHEAD * self._engine.padded_limit
        while joining.sent < len(joining.parts) and joining.size_underway < limit:
            part = joining.parts[joining.sent]
            self._rows.add(_part_key(key, joining.sent), part)
            joining.size_underway += self._engine.size(part)
            joining.sent += 1


def _part_key(key: str, index: int) -> str:
    return f"{key}#{index}"
