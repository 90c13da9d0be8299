"""The Python engine: runs a class of the user's own in the lane."""

from __future__ import annotations

import gc
import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from model_types.base import Failure, ModelType, Tell, VersionSpec
from model_types.batching import one_line, release_cached_memory
from model_types.custom.finding import Place, Signature, find
from model_types.errors import ModelUnavailable


class UnexpectedOutput(Exception):
    """A class has given something other than what its annotations promise."""


@dataclass(slots=True, eq=False)
class Call:
    """One input on its way. `cancelled` and `tell` are set by another thread."""

    input: Any
    cancelled: bool = False
    tell: Tell | None = None


class Python(ModelType):
    """A class with `predict`, and where it likes `load`, `unload` and `predict_batch`."""

    # Any: it is the user's.
    _predictor: Any
    _signature: Signature

    @property
    def pass_rows(self) -> int:
        """One, unless the class takes batches: each output is out at once, and each failure its own."""
        return super().pass_rows if self._takes_batches else 1

    def load(self, version: VersionSpec, device: str) -> None:
        self.spec = version
        found = find(Place.of(version.path), version.trust)
        self._signature = Signature.of(found)
        try:
            self._predictor = found()
            self._predictor.device = device
            if hasattr(found, "load"):
                self._predictor.load()
        except ModelUnavailable:
            raise
        except Exception as error:
            raise ModelUnavailable(f"{found.__name__} cannot be loaded: {one_line(error)}") from error

    def parse(self, value: Any) -> BaseModel:
        return self._signature.input.model_validate(value)

    def prepare(self, value: BaseModel) -> Call:
        return Call(value)

    def predict(self, batch: Sequence[Call]) -> Sequence[Any | Failure]:
        if not self._takes_batches:
            return [self._output(call) for call in batch]
        if not batch:
            return []
        outputs = list(self._predictor.predict_batch([call.input for call in batch]))
        if len(outputs) != len(batch):
            raise UnexpectedOutput(f"predict_batch gave {len(outputs)} outputs for {len(batch)} inputs")
        return [_checked(output, self._signature.output) for output in outputs]

    def cancel(self, prepared: Call) -> None:
        prepared.cancelled = True

    def listen(self, prepared: Call, tell: Tell) -> None:
        prepared.tell = tell

    def unload(self) -> None:
        if hasattr(self._predictor, "unload"):
            self._predictor.unload()
        del self._predictor
        gc.collect()
        release_cached_memory()

    @property
    def _takes_batches(self) -> bool:
        return hasattr(self._predictor, "predict_batch")

    def _output(self, call: Call) -> Any:
        """What `predict` gives; the list of its parts, where it is a generator."""
        given = self._predictor.predict(call.input)
        if not inspect.isgenerator(given):
            return _checked(given, self._signature.output)
        parts: list[Any] = []
        for part in given:
            if call.cancelled:
                given.close()
                break
            parts.append(_checked(part, self._signature.part, len(parts)))
            if call.tell is not None:
                call.tell(len(parts) - 1, parts[-1])
        return parts if self._signature.part else _checked(parts, self._signature.output)


def _checked(output: Any, expected: TypeAdapter[Any] | None, *place: int) -> Any:
    """The output, or the part at this place, as its type has it. Raises `UnexpectedOutput`."""
    if expected is None:
        return output
    try:
        return expected.validate_python(output)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(["output", *(str(part) for part in (*place, *first["loc"]))])
        raise UnexpectedOutput(f"{where}: {first['msg']}") from error
