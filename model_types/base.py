"""What a model type is: values in, values out. It knows nothing of HTTP, SQL or Celery."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any, Literal, Protocol

from pydantic import BaseModel

from model_types.batching import BatchSession, Pass
from model_types.errors import DeviceLost, ModelUnavailable
from model_types.output_file import OutputFile
from model_types.trust import Trust

__all__ = [
    "BatchSession",
    "Chunks",
    "DeviceLost",
    "Failure",
    "ModelType",
    "ModelUnavailable",
    "OutputFile",
    "Pass",
    "Session",
    "Tell",
    "TypeInfo",
    "VersionSpec",
]

DEFAULT_MAX_BATCH = 32
DEFAULT_BUDGET = 1 << 30
NO_METRICS: Mapping[str, float | str] = MappingProxyType({})


# How an output comes while a prediction runs: as pieces of a text, as the items of a list, or (None) at the
# end only.
Chunks = Literal["text", "items"] | None

# Told where a chunk of an output stands, in characters of a text or in items of a list, and the chunk. A run
# that begins again tells again from the beginning. Called at every step of a pass, so it must be quick.
Tell = Callable[[int, Any], None]


@dataclass(frozen=True, slots=True)
class VersionSpec:
    """What a lane needs to know in order to load one version.

    `path` is a folder or a Hugging Face repository id, `options` what the version's author may tune
    (`dtype`, `max_batch`, `pass_rows`, `pass_budget`, `max_wait_ms`, `execution_timeout_seconds`,
    `memory_mb`). `trust` says whose pickles and code may run, `may_download` whether a repository may be
    fetched now.
    """

    id: str
    model: str
    model_type: str
    engine: str
    path: str
    revision: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    trust: Trust = field(default_factory=Trust)
    may_download: bool = True


@dataclass(frozen=True, slots=True)
class Failure:
    """Why one prediction of a batch came to nothing; its neighbours are not concerned.

    `code` is for machines (`invalid_input`, `out_of_memory`, `model_error`), `message` for people, and
    `traceback`, where an exception is the reason, for who wrote the model.
    """

    code: str
    message: str
    traceback: str = field(default="", compare=False)


class Session(Protocol):
    """One version at work: predictions join it, `step()` moves all of them, and they leave when done.

    Only `cancel`, `listen`, `waiting` and `progress` may be called from another thread.
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

    def listen(self, key: str, tell: Tell) -> None:
        """Have the chunks of this one's output told in the thread that steps, from the first one on.

        A type without chunks tells nothing; of what it does tell, a last chunk may be missing. Unknown keys
        are ignored. Safe from any thread.
        """
        ...

    def progress(self) -> Mapping[str, float]:
        """How far those at work have come, 0 to 1; without those of which nobody can tell.

        Safe from any thread.
        """
        ...

    def waiting(self) -> Collection[str]:
        """The keys of those that have joined and not begun: their time does not run yet."""
        ...

    def passes(self) -> Sequence[Pass]:
        """The runs through the model since this was asked last."""
        ...

    def shorten(self, padded: int) -> None:
        """From now on let passes come to no more than this, in the unit of `Pass.padded`, or to one row.

        A session that moves all of its members at each step has nothing to shorten.
        """
        ...

    def __len__(self) -> int:
        """How many are in the session now."""
        ...


class ModelType(ABC):
    """An engine of one model type: loads a version and turns batches of inputs into outputs.

    `load` sets `spec`; the registry sets `info`. `dimensions` is how many numbers its vectors have, once
    it is loaded, where it gives vectors.
    """

    spec: VersionSpec
    info: TypeInfo
    dimensions: int | None = None

    @abstractmethod
    def load(self, version: VersionSpec, device: str) -> None:
        """Load the weights onto `device` ("cpu", "cuda:0", "mps"). Raises `ModelUnavailable`."""

    def parse(self, value: Any) -> BaseModel:
        """The input that this JSON object is. Raises pydantic's `ValidationError`."""
        return self.info.Input.model_validate(value)

    def prepare(self, value: Any) -> Any:
        """Turn a validated input, its files fetched and decoded, into what `predict` takes (tokenise, scale).

        Runs in another thread, while the device computes the batch before. A `ValueError` fails
        this prediction alone, as `invalid_input`.
        """
        return value

    @abstractmethod
    def predict(self, batch: Sequence[Any]) -> Sequence[Any | Failure]:
        """Outputs of a batch of prepared inputs, one each, in their order.

        Where it raises, the session tries parts of the batch; a `Failure` among the outputs is final.
        """

    def session(self) -> Session:
        """A new session: by default passes over rows of like size. Continuous types return their own."""
        return BatchSession(self)

    def size(self, prepared: Any) -> int:
        """How large a row this one is in a pass, at least 1: tokens, seconds, pixels times steps."""
        return 1

    def batch_key(self, prepared: Any) -> Hashable:
        """Only those with equal keys may share a pass."""
        return None

    def cancel(self, prepared: Any) -> None:  # noqa: B027 - optional hook
        """Have a running pass stop working for this one as soon as it can. Called from another thread."""

    def listen(self, prepared: Any, tell: Tell) -> None:  # noqa: B027 - optional hook
        """Have a running pass tell this one's chunks from now on, first what has come already.

        Called from another thread; what is told is told in the thread that runs the pass.
        """

    def chunks(self, prepared: Any) -> Chunks:
        """How this one's output comes, where that hangs on what it asks for."""
        return self.info.chunks

    def progress(self, prepared: Any) -> float | None:
        """How far this one has come in a running pass, 0 to 1. Called from another thread."""
        return None

    def metrics(self, prepared: Any) -> Mapping[str, float | str]:
        """What was measured of one that has succeeded, by the names that Replicate gives it.

        Such as `input_token_count`; what cannot be told exactly is left out.
        """
        return NO_METRICS

    @property
    def max_batch(self) -> int:
        """How many predictions may be in a session, running or waiting for their pass."""
        return self._option("max_batch", self.info.max_batch)

    @property
    def pass_rows(self) -> int:
        """How many rows may share a pass."""
        return self._option("pass_rows", self.max_batch)

    @property
    def pass_budget(self) -> int:
        """What a pass may be padded to: rows times the largest size; the sum of sizes where nothing pads."""
        return self._option("pass_budget", DEFAULT_BUDGET)

    @property
    def pads(self) -> bool:
        """Whether the rows of a pass are padded to the largest."""
        return True

    @property
    def pass_waste(self) -> float:
        """Which share of a pass may be padding; where padding costs nothing, all."""
        return 1.0

    @cached_property
    def padded_limit(self) -> int:
        """What a pass is padded to at most now: less than `pass_budget` once memory has run out."""
        return self.pass_budget

    def warm_up(self) -> None:  # noqa: B027 - optional hook
        """Run once after loading, so that the first prediction does not pay for it."""

    def unload(self) -> None:  # noqa: B027 - optional hook
        """Give the memory back. The object is not used again."""

    def memory_bytes(self) -> int:
        """Memory that the loaded weights hold; 0 where it does not matter."""
        return 0

    def _option(self, name: str, default: int) -> int:
        return int(self.spec.options.get(name, default))


@dataclass(frozen=True, slots=True)
class TypeInfo:
    """A model type as the gateway sees it: its schema and limits, without its libraries.

    `engines` maps an engine's name to "module:Class", imported only in a lane.
    `cost` says what an input takes of a session's budget, in the type's own unit. `takes` and `gives` are the
    kinds of what goes in and comes out, such as "text"; empty where each version has its own. With
    `own_schemas` there is no input schema that all versions share, so each is registered with its own.
    `chunks` says how output comes while a prediction runs, unless it asks for something else. Where the text
    that comes in pieces is not all of the output, `text_field` is the field that has it.
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
    own_schemas: bool = False
    chunks: Chunks = None
    text_field: str | None = None
    takes: Sequence[str] = ()
    gives: Sequence[str] = ()

    @property
    def gives_text(self) -> bool:
        """Whether the output is a text that comes in pieces, and nothing else."""
        return self.chunks == "text" and self.text_field is None

    def input_schema(self) -> dict[str, Any]:
        """The JSON Schema (draft 2020-12) of this type's input."""
        return self.Input.model_json_schema()
