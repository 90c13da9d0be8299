"""Which versions a lane keeps in memory: as many as the budget holds, the least recently used goes first."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from model_types import registry
from model_types.base import ModelType, ModelUnavailable, TypeInfo, VersionSpec

logger = logging.getLogger(__name__)

MEBIBYTE = 1 << 20
# After a version could not be loaded, nobody tries again for so long.
UNAVAILABLE_SECONDS = 30.0
STEP_MEMORY = 0.7


@dataclass(slots=True)
class Resident:
    """A loaded version, the limits of its batches, and how long its steps take as a rule."""

    spec: VersionSpec
    info: TypeInfo
    model: ModelType
    memory_bytes: int
    usual_step_seconds: float = 0.0

    def took(self, step_seconds: float) -> None:
        """Learn from a step: the newer ones count for more."""
        usual = self.usual_step_seconds or step_seconds
        self.usual_step_seconds = STEP_MEMORY * usual + (1 - STEP_MEMORY) * step_seconds

    @property
    def max_batch(self) -> int:
        """How many predictions may share a batch."""
        return int(self.spec.options.get("max_batch", self.info.max_batch))

    @property
    def budget(self) -> int:
        """What the costs of one batch may sum up to, in the type's unit."""
        return int(self.spec.options.get("budget", self.info.budget))

    @property
    def linger_seconds(self) -> float:
        """How long a batch that is not full may wait for more, from its first arrival."""
        return float(self.spec.options.get("max_wait_ms", 0)) / 1000

    @property
    def execution_timeout_seconds(self) -> float:
        """How long one prediction may run."""
        default = self.info.execution_timeout_seconds
        return float(self.spec.options.get("execution_timeout_seconds", default))


class Residency:
    """The loaded versions of one lane. Only the lane's main thread loads and evicts."""

    def __init__(
        self, find: Callable[[str], VersionSpec | None], *, budget_bytes: int, device: Callable[[], str]
    ) -> None:
        self._find = find
        self._budget_bytes = budget_bytes
        self._device = device
        self._loaded: OrderedDict[str, Resident] = OrderedDict()
        self._unavailable: dict[str, tuple[float, ModelUnavailable]] = {}

    def held(self) -> list[str]:
        """The ids of the versions in memory, the least recently used first."""
        return list(self._loaded)

    def peek(self, version_id: str) -> Resident | None:
        """The version if it is in memory; its use does not count."""
        return self._loaded.get(version_id)

    def acquire(self, version_id: str) -> Resident:
        """The version, loaded. Raises `ModelUnavailable` with the reason why it cannot be.

        Others may be evicted for it, so a lane calls this only when none of them is at work.
        """
        resident = self._loaded.get(version_id)
        if resident is None:
            resident = self._load_unless_unavailable(version_id)
            self._loaded[version_id] = resident
            self._evict(keep=version_id)
        self._loaded.move_to_end(version_id)
        return resident

    def release_all(self) -> None:
        """Unload everything."""
        while self._loaded:
            self._unload(next(iter(self._loaded)))

    def _load_unless_unavailable(self, version_id: str) -> Resident:
        until, known = self._unavailable.get(version_id, (0.0, None))
        if known is not None and time.monotonic() < until:
            raise known
        try:
            return self._load(version_id)
        except ModelUnavailable as error:
            self._unavailable[version_id] = (time.monotonic() + UNAVAILABLE_SECONDS, error)
            raise

    def _load(self, version_id: str) -> Resident:
        spec = self._find(version_id)
        if spec is None:
            raise ModelUnavailable("The version has been deleted.")
        expected = int(spec.options.get("memory_mb", 0)) * MEBIBYTE
        self._evict(keep=version_id, extra_bytes=expected)
        started = time.monotonic()
        try:
            info = registry.get(spec.model_type)
            model = registry.engine(spec)
            model.load(spec, self._device())
            model.warm_up()
        except ModelUnavailable:
            raise
        except Exception as error:
            logger.exception("version %s of %s cannot be loaded", version_id, spec.model)
            reason = f"{type(error).__name__}: {error}"
            raise ModelUnavailable(f"{spec.model} cannot be loaded: {reason}") from error
        memory_bytes = max(model.memory_bytes(), expected)
        logger.info(
            "loaded %s (%s) in %.1f s, %.0f MB",
            spec.model,
            version_id[:12],
            time.monotonic() - started,
            memory_bytes / MEBIBYTE,
        )
        return Resident(spec, info, model, memory_bytes)

    def _evict(self, *, keep: str, extra_bytes: int = 0) -> None:
        while sum(r.memory_bytes for r in self._loaded.values()) + extra_bytes > self._budget_bytes:
            victim = next((version_id for version_id in self._loaded if version_id != keep), None)
            if victim is None:
                return
            self._unload(victim)

    def _unload(self, version_id: str) -> None:
        resident = self._loaded.pop(version_id)
        resident.model.unload()
        logger.info("unloaded %s (%s)", resident.spec.model, version_id[:12])
