"""Which versions a lane keeps in memory: as many as the budget holds, the least recently used goes first."""

from __future__ import annotations

import logging
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from model_types import registry
from model_types.base import DeviceLost, ModelType, ModelUnavailable, Pass, TypeInfo, VersionSpec
from workers.tuning import AS_IT_IS, Batching

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
    batching: Batching = AS_IT_IS
    usual_step_seconds: float = 0.0
    usual_rows: float = 0.0
    usual_padded: float = 0.0
    used_at: float = field(default_factory=time.monotonic)

    def took(self, step_seconds: float, passes: Iterable[Pass]) -> None:
        """Learn from a step and its passes: the newer ones count for more."""
        self.used_at = time.monotonic()
        rows = padded = 0
        for one in passes:
            rows += one.rows
            padded += one.padded
        self.usual_step_seconds = _mixed(self.usual_step_seconds, step_seconds)
        self.usual_rows = _mixed(self.usual_rows, rows)
        self.usual_padded = _mixed(self.usual_padded, padded)

    def padded_in(self, seconds: float) -> int:
        """How large a pass may be, in the unit of `Pass.padded`, that takes so long as a rule."""
        return int(self.usual_padded * seconds / (self.usual_step_seconds or math.inf))

    def rows_in(self, seconds: float) -> int:
        """How many rows pass through the model in so long as a rule."""
        return int(self.usual_rows * seconds / (self.usual_step_seconds or math.inf))

    @property
    def max_batch(self) -> int:
        """How many predictions may share a batch."""
        own = int(self.spec.options.get("max_batch", self.info.max_batch))
        return min(own, self.batching.max_size or own)

    @property
    def budget(self) -> int:
        """What the costs of one batch may sum up to, in the type's unit."""
        return int(self.spec.options.get("budget", self.info.budget))

    @property
    def linger_seconds(self) -> float:
        """How long a batch that is not full may wait for more, from its first arrival."""
        return float(self.spec.options.get("max_wait_ms", self.batching.window_ms)) / 1000

    @property
    def is_pinned(self) -> bool:
        """Whether it stays until it is ordered out, whoever else needs room."""
        return bool(self.spec.options.get("pin", False))

    @property
    def has_expired(self) -> bool:
        """Whether nobody has used it for as long as it may stay without use."""
        ttl_seconds = self.spec.options.get("ttl_seconds")
        if ttl_seconds is None or self.is_pinned:
            return False
        return time.monotonic() - self.used_at > float(ttl_seconds)

    @property
    def execution_timeout_seconds(self) -> float:
        """How long one prediction may run."""
        default = self.info.execution_timeout_seconds
        return float(self.spec.options.get("execution_timeout_seconds", default))


def _mixed(usual: float, new: float) -> float:
    return STEP_MEMORY * (usual or new) + (1 - STEP_MEMORY) * new


class Residency:
    """The loaded versions of one lane. Only the thread that has the lane's floor loads and evicts.

    `batching` tells how predictions of a model type share batches. What was loaded warms itself up as often
    as `warm_up_runs` says, before `warm_up` is called with it; until then the lane `is_loading`. `tell` is
    told a version's id and what was loaded of it, or why it cannot be. `kept` are the ids of versions that
    deployments want in this lane's memory: they are never evicted, nor do they expire.
    """

    def __init__(
        self,
        find: Callable[[str], VersionSpec | None],
        *,
        budget_bytes: int,
        device: Callable[[], str],
        batching: Callable[[str], Batching] = lambda _: AS_IT_IS,
        warm_up_runs: int = 1,
        warm_up: Callable[[Resident], None] = lambda _: None,
        tell: Callable[[str, Resident | ModelUnavailable], None] = lambda _, __: None,
    ) -> None:
        self._find = find
        self._budget_bytes = budget_bytes
        self._device = device
        self._batching = batching
        self._warm_up_runs = warm_up_runs
        self._warm_up = warm_up
        self._tell = tell
        self._loaded: OrderedDict[str, Resident] = OrderedDict()
        self._unavailable: dict[str, tuple[float, ModelUnavailable]] = {}
        self.kept: frozenset[str] = frozenset()
        self.is_loading = False

    def held(self) -> list[str]:
        """The ids of the versions in memory, the least recently used first."""
        return list(self._loaded)

    def peek(self, version_id: str) -> Resident | None:
        """The version if it is in memory; its use does not count."""
        return self._loaded.get(version_id)

    def lacks(self, version_id: str) -> bool:
        """Whether it is not in memory, and may be loaded as far as this lane knows."""
        until, _ = self._unavailable.get(version_id, (0.0, None))
        return version_id not in self._loaded and time.monotonic() >= until

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
        resident.used_at = time.monotonic()
        return resident

    def load(self, version_id: str) -> None:
        """Load by order, also what could not be loaded just now. Raises `ModelUnavailable`."""
        self._unavailable.pop(version_id, None)
        self.acquire(version_id)

    def unload(self, version_id: str) -> None:
        """Unload by order, also what is pinned."""
        if version_id in self._loaded:
            self._unload(version_id)

    def expired(self) -> list[str]:
        """The versions that nobody has used for longer than they may stay without use."""
        return [
            version_id
            for version_id, resident in list(self._loaded.items())
            if resident.has_expired and version_id not in self.kept
        ]

    def release_all(self) -> None:
        """Unload everything."""
        while self._loaded:
            self._unload(next(iter(self._loaded)))

    def _load_unless_unavailable(self, version_id: str) -> Resident:
        until, known = self._unavailable.get(version_id, (0.0, None))
        if known is not None and time.monotonic() < until:
            raise known
        self.is_loading = True
        try:
            resident = self._load(version_id)
        except ModelUnavailable as error:
            self._unavailable[version_id] = (time.monotonic() + UNAVAILABLE_SECONDS, error)
            self._tell(version_id, error)
            raise
        finally:
            self.is_loading = False
        self._unavailable.pop(version_id, None)
        self._tell(version_id, resident)
        return resident

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
            for _ in range(self._warm_up_runs):
                model.warm_up()
        except (ModelUnavailable, DeviceLost):
            raise
        except Exception as error:
            logger.exception("version %s of %s cannot be loaded", version_id, spec.model)
            reason = f"{type(error).__name__}: {error}"
            raise ModelUnavailable(f"{spec.model} cannot be loaded: {reason}") from error
        resident = Resident(spec, info, model, max(model.memory_bytes(), expected), self._batching(info.name))
        self._warm_up(resident)
        logger.info(
            "loaded %s (%s) in %.1f s, %.0f MB",
            spec.model,
            version_id[:12],
            time.monotonic() - started,
            resident.memory_bytes / MEBIBYTE,
        )
        return resident

    def _evict(self, *, keep: str, extra_bytes: int = 0) -> None:
        while sum(r.memory_bytes for r in self._loaded.values()) + extra_bytes > self._budget_bytes:
            stay = self.kept | {keep}
            victims = (one for one, resident in self._loaded.items() if not resident.is_pinned)
            victim = next((version_id for version_id in victims if version_id not in stay), None)
            if victim is None:
                return
            self._unload(victim)

    def _unload(self, version_id: str) -> None:
        resident = self._loaded.pop(version_id)
        resident.model.unload()
        logger.info("unloaded %s (%s)", resident.spec.model, version_id[:12])
