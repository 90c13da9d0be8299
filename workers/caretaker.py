"""What a lane does that no bell asks for: load, unload and keep by order, and let go of what has expired."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from db.leases import Leases
from db.pools import is_deployment
from db.repositories.versions import Order, take_orders
from model_types.errors import DeviceLost, ModelUnavailable
from workers.residency import Residency

logger = logging.getLogger(__name__)

# Between two looks at what there is to do; an order waits no longer than this for a lane at rest.
LOOK_SECONDS = 0.5
# A load cannot be broken off; a worker that stops does not wait for one any longer.
CLOSE_SECONDS = 10.0


class Caretaker:
    """Changes one lane's residency from a thread of its own, while the lane has nothing at work.

    Whoever has the `floor` may load, unload and run versions. Nobody else could bring an order to this
    lane: a bell wakes any lane of its pool. So what waits for a version that this lane keeps for a deployment
    is looked for here too, and `serve`d. `give_up` ends the lane when its device is lost.
    """

    def __init__(
        self,
        engine: Engine,
        leases: Leases,
        residency: Residency,
        *,
        pools: Sequence[str],
        serve: Callable[[str], None],
        stopping: Callable[[], bool],
        give_up: Callable[[DeviceLost], None],
    ) -> None:
        self._engine = engine
        self._leases = leases
        self._residency = residency
        self._pools = pools
        self._serve = serve
        self._stopping = stopping
        self._give_up = give_up
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="caretaker", daemon=True)
        self.floor = threading.Lock()

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Do nothing any more; what is being done may end."""
        self._closed.set()
        self._thread.join(CLOSE_SECONDS)

    def tend(self) -> None:
        """Do what there is to do now, once the lane is at rest. Raises `SQLAlchemyError`."""
        orders = take_orders(self._engine, self._leases.lane)
        self._residency.kept = frozenset(order.version_id for order in orders if order.action == "keep")
        due = [order for order in orders if order.action != "keep" or self._residency.lacks(order.version_id)]
        if due or self._residency.expired():
            with self.floor:
                for order in due:
                    if not self._stopping():
                        self._obey(order)
                for version_id in self._residency.expired():
                    self._residency.unload(version_id)
        self._serve_kept()

    def _serve_kept(self) -> None:
        for pool in self._pools if self._residency.kept else ():
            if not self.floor.acquire(blocking=False):
                return
            try:
                kept = self._residency.kept.intersection(self._residency.held())
                if any(
                    is_deployment(waiting.pool) and waiting.version_id in kept
                    for waiting in self._leases.waiting(pool)
                ):
                    self._serve(pool)
            finally:
                self.floor.release()

    def _obey(self, order: Order) -> None:
        try:
            match order.action:
                case "keep":
                    self._residency.acquire(order.version_id)
                case "load":
                    self._residency.load(order.version_id)
                case "unload":
                    self._residency.unload(order.version_id)
        except ModelUnavailable as error:
            logger.warning("version %s cannot be loaded: %s", order.version_id[:12], error)

    def _run(self) -> None:
        while not self._closed.wait(LOOK_SECONDS) and not self._stopping():
            try:
                self.tend()
            except SQLAlchemyError as error:
                logger.warning("orders cannot be read: %s", error.args[0])
            except DeviceLost as error:
                self._give_up(error)
            except Exception:
                logger.exception("the residency could not be tended")
