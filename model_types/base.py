"""What a model type is: values in, values out. It knows nothing of HTTP, SQL or Celery."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from pydantic import BaseModel

DEFAULT_MAX_BATCH = 32
DEFAULT_BUDGET = 1 << 30


@dataclass(frozen=True, slots=True)
class VersionSpec:
    """What a lane needs to know in order to load one version.

    `path` is a folder or a Hugging Face repository id, `options` what the version's author may tune
    (`dtype`, `max_batch`, `budget`, `max_wait_ms`, `execution_timeout_seconds`, `memory_mb`).
    """

    id: str
    model: str
    model_type: str
    engine: str
    path: str
    revision: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why one prediction of a batch came to nothing; its neighbours are not concerned.

    `code` is for machines (`invalid_input`, `out_of_memory`, `model_error`), `message` for people.
    """

    code: str
    message: str


class Session(Protocol):
    """One version at work: predictions join it, `step()` moves all of them, and they leave when done.

    Only `cancel` may be called from another thread.
    """

    def room(self) -> int:
        """How many more predictions `add` would take now."""
        ...

    def add(self, key: str, prepared: Any) -> None:
        """Let a prepared input join, under a key that is unique in this session."""
        ...

    def step(self) -> Mapping[str, Any | Failure]:
        """Move on by one step; return those that have finished: key -> output, or its failure.

        What has been cancelled is not among them. A static batch finishes everything in one step.
        """
        ...

    def cancel(self, key: str) -> None:
        """Drop this one at the next step's edge. Unknown keys are ignored. Safe from any thread."""
        ...

    def __len__(self) -> int:
        """How many are in the session now."""
        ...


class ModelType(ABC):
    """An engine of one model type: loads a version and turns batches of inputs into outputs."""

    spec: VersionSpec

    @abstractmethod
    def load(self, version: VersionSpec, device: str) -> None:
        """Load the weights onto `device` ("cpu", "cuda:0", "mps"). Raises `ModelUnavailable`."""

    def prepare(self, value: Any) -> Any:
        """Turn a validated input into what `predict` takes (fetch, decode, tokenise).

        Runs in another thread, while the device computes the batch before. A `ValueError` fails
        this prediction alone, as `invalid_input`.
        """
        return value

    @abstractmethod
    def predict(self, batch: Sequence[Any]) -> Sequence[Any | Failure]:
        """Outputs of a batch of prepared inputs, one each, in their order."""

    def session(self) -> Session:
        """A new session; continuous types return their own."""
        return BatchSession(self.predict, max_batch=self.max_batch)

    @property
    def max_batch(self) -> int:
        """How many predictions may share one batch."""
        return int(self.spec.options.get("max_batch", DEFAULT_MAX_BATCH))

    def warm_up(self) -> None:  # noqa: B027 - optional hook
        """Run once after loading, so that the first prediction does not pay for it."""

    def unload(self) -> None:  # noqa: B027 - optional hook
        """Give the memory back. The object is not used again."""

    def memory_bytes(self) -> int:
        """Memory that the loaded weights hold; 0 where it does not matter."""
        return 0


class BatchSession:
    """A static batch: everything that has joined runs in one `step()`, and the session is empty again."""

    def __init__(
        self, predict: Callable[[Sequence[Any]], Sequence[Any | Failure]], *, max_batch: int
    ) -> None:
        self._predict = predict
        self._max_batch = max_batch
        self._waiting: dict[str, Any] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def room(self) -> int:
        return self._max_batch - len(self._waiting)

    def add(self, key: str, prepared: Any) -> None:
        self._waiting[key] = prepared

    def cancel(self, key: str) -> None:
        self._waiting.pop(key, None)

    def step(self) -> Mapping[str, Any | Failure]:
        batch, self._waiting = self._waiting, {}
        outputs = self._predict(list(batch.values()))
        return dict(zip(batch, outputs, strict=True))


@dataclass(frozen=True, slots=True)
class TypeInfo:
    """A model type as the gateway sees it: its schema and limits, without its libraries.

    `engines` maps an engine's name to "module:Class", imported only in a lane.
    `cost` says what an input takes of a session's budget, in the type's own unit.
    """

    name: str
    description: str
    Input: type[BaseModel]
    Output: Any
    engines: Mapping[str, str]
    default_engine: str
    aliases: Sequence[str] = ()
    cost: Callable[[BaseModel], int] = lambda _: 1
    budget: int = DEFAULT_BUDGET
    max_batch: int = DEFAULT_MAX_BATCH
    execution_timeout_seconds: float = 600.0

    def input_schema(self) -> dict[str, Any]:
        """The JSON Schema (draft 2020-12) of this type's input."""
        return self.Input.model_json_schema()


class ModelUnavailable(Exception):
    """The version cannot be loaded here; the message says which file and why."""
