"""This process's lane: its identity, its pulse, and the runner that serves the bells."""

from __future__ import annotations

import faulthandler
import logging
import math
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from sqlalchemy.exc import SQLAlchemyError

from db import lanes, outbox
from db.blobs import Blobs
from db.ids import new_id
from db.lanes import LaneInfo
from db.leases import Leases
from db.repositories.versions import find_version, note_available, note_unavailable
from db.session import lane_engine
from db.settings import BlobSettings, DatabaseSettings
from db.states import FailureCode
from model_types.base import DeviceLost, ModelUnavailable, VersionSpec
from model_types.trust import Trust
from workers.announcing import Announcer
from workers.bells import Bells
from workers.broker import BrokerSettings, KeptConnection
from workers.caretaker import Caretaker
from workers.claiming import EXPECT_SECONDS
from workers.devices import choose_device, device_kind
from workers.doorbell import Doorbell
from workers.events import Observer, Observers
from workers.finishing import Finisher
from workers.inputs import InputFiles
from workers.messages import Ring
from workers.metrics import Metrics
from workers.outputs import sentence
from workers.partials import PartialReporter
from workers.printing import Overhearing
from workers.progress import ProgressReporter
from workers.residency import MEBIBYTE, Residency, Resident
from workers.runner import Runner
from workers.settings import WorkerSettings
from workers.streams import StreamWriter
from workers.warming import warm_up

logger = logging.getLogger(__name__)

# How often the pulse looks at what runs: for cancellations, and for a step that hangs.
PULSE_SECONDS = 0.2
# Before the end of a prediction is told, the last of its stream is waited for no longer than this.
FLUSH_SECONDS = 0.005
# Heartbeats in one lease: so many may be missed before the lane counts as dead.
BEATS_PER_LEASE = 5
# A step that takes too long is asked to stop, and has so long to do it, in seconds and of what it may take.
MIN_GRACE_SECONDS = 1.0
GRACE_SHARE = 0.1
# If even the pulse cannot run for so long, something holds the interpreter for good; the process then exits.
FROZEN_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where this lane stands: its worker's boot, its slot there, and the pools it serves."""

    worker: str
    slot: int
    pools: Sequence[str]


class Lane:
    """One worker child. Opens its connections when it starts; the parent of the pool never has any."""

    def __init__(
        self,
        place: Place,
        *,
        settings: WorkerSettings,
        database: DatabaseSettings,
        broker: BrokerSettings,
        blobs: BlobSettings,
        observer: Observer,
        stopping: Callable[[], bool],
    ) -> None:
        self._place = place
        self._settings = settings
        self._stopping = stopping
        self._engine = lane_engine(database)
        client = KeptConnection.from_url(broker.url(), socket_timeout=1.0, socket_connect_timeout=1.0)
        self._bells = Bells(client)
        self._announcer = Announcer(client, self._bells)
        self._doorbell = Doorbell(client, new_id(), place.pools, stopping)
        self._leases = Leases(self._engine, new_id())
        self._progress = ProgressReporter(self._leases)
        self._partials = PartialReporter(self._engine)
        self._streams = StreamWriter(broker.url())
        self._overhearing = Overhearing()
        store = Blobs(blobs)
        files = InputFiles(settings, store)
        self._metrics = Metrics(client)
        observers = Observers(self._metrics, observer)
        self._finisher = Finisher(
            self._leases,
            store,
            self._announcer.ended,
            observers,
            note_started=partial(outbox.note_started, self._engine),
            flush=partial(self._streams.flush, FLUSH_SECONDS),
        )
        self._residency = Residency(
            self._find,
            budget_bytes=settings.worker_memory_mb * MEBIBYTE,
            device=lambda: choose_device(settings.device, slot=place.slot),
            batching=settings.batching,
            warm_up_runs=settings.warm_up_runs,
            warm_up=partial(
                warm_up, files=files, runs=settings.warm_up_runs, batch_size=settings.warmup_batch_size
            ),
            tell=self._tell_availability,
        )
        self._runner = Runner(
            leases=self._leases,
            residency=self._residency,
            files=files,
            finisher=self._finisher,
            bells=self._bells,
            observer=observers,
            stopping=stopping,
            affinity_seconds=settings.affinity_seconds,
            batch_pass_seconds=settings.batch_pass_seconds,
            batch_hold_off_seconds=settings.batch_hold_off_seconds,
            streams=self._streams,
        )
        self._caretaker = Caretaker(
            self._engine,
            self._leases,
            self._residency,
            pools=place.pools,
            serve=self._runner.serve,
            stopping=stopping,
            give_up=self._give_up,
        )
        self._registered = threading.Event()
        self._closed = threading.Event()
        self._pulse = threading.Thread(target=self._live, name="pulse", daemon=True)
        self._pulse.start()
        self._caretaker.start()

    def serve(self, pool: str) -> None:
        """Answer a bell, and those that ring while this lane still stays by the door.

        A lane that cannot reach the database has nothing to serve.
        """
        rung: Ring | None = Ring(pool)
        while rung is not None and self._registered.wait(timeout=self._settings.lease_seconds):
            self._serve(rung)
            rung = self._doorbell.wait()

    def _serve(self, rung: Ring) -> None:
        if not self._caretaker.floor.acquire(blocking=False):
            # A version is being loaded here, which may take long: others may hear this bell instead.
            if rung.expected is not None:
                # They would find nothing before it is committed, and nobody rings for it then.
                time.sleep(EXPECT_SECONDS)
            self._bells.ring([rung.pool])
            self._caretaker.floor.acquire()
        try:
            self._runner.serve(rung.pool, expected=rung.expected)
        except DeviceLost as error:
            self._give_up(error)
        finally:
            self._caretaker.floor.release()

    def _give_up(self, error: DeviceLost) -> None:
        # A new process gets a new device context, and this lane's predictions back, one by one.
        logger.critical("the device is lost, and this lane with it: %s", error)
        os.kill(os.getpid(), signal.SIGKILL)

    def close(self) -> None:
        """Leave in good order: finish storing, and let what has not begun wait for others."""
        self._closed.set()
        self._doorbell.close()
        self._pulse.join(timeout=2)
        self._caretaker.close()
        faulthandler.cancel_dump_traceback_later()
        self._finisher.close()
        self._runner.close()
        self._streams.close()
        self._overhearing.close()
        self._metrics.flush(at=math.inf)
        self._sign_off()
        self._engine.dispose()

    def _sign_off(self) -> None:
        try:
            left = lanes.retire(self._engine, self._leases.lane)
            self._bells.ring(left.pools)
        except SQLAlchemyError as error:
            logger.warning("the lane could not sign off; its lease will lapse: %s", error.args[0])

    def _leave_loading(self) -> None:
        """A load cannot be broken off, and may take minutes: a worker that stops does not wait for it.

        Nothing else is at work meanwhile, and what the version is loaded for goes to other lanes.
        """
        if self._stopping() and self._residency.is_loading:
            logger.info("a version is being loaded; this lane leaves without it")
            self._sign_off()
            os.kill(os.getpid(), signal.SIGKILL)

    def _find(self, version_id: str) -> VersionSpec | None:
        stored = find_version(self._engine, version_id)
        if stored is None:
            return None
        settings = self._settings
        defaults = {"cache_dir": settings.model_cache_dir, "dtype": settings.model_dtype}
        return VersionSpec(
            id=stored.id,
            model=stored.model,
            model_type=stored.model_type,
            engine=stored.engine,
            path=stored.path,
            revision=stored.revision,
            options=defaults | stored.options | settings.text_limits(stored.model_type),
            trust=Trust(settings.trusted_models),
            may_download=settings.auto_download_models,
        )

    def _tell_availability(self, version_id: str, found: Resident | ModelUnavailable) -> None:
        """Have everybody know why a version cannot be loaded, or what it is, since it could be."""
        try:
            if isinstance(found, ModelUnavailable):
                note_unavailable(self._engine, version_id, sentence(str(found)))
            else:
                note_available(self._engine, version_id, dimensions=found.model.dimensions)
        except SQLAlchemyError as error:
            logger.warning("nobody can be told how version %s is: %s", version_id[:12], error.args[0])

    def _live(self) -> None:
        """Beat, watch for predictions that are not ours any more and for a step that hangs, tell progress."""
        next_beat, told = 0.0, set[str]()
        while not self._closed.wait(PULSE_SECONDS if self._registered.is_set() else 0.0):
            faulthandler.dump_traceback_later(
                max(FROZEN_SECONDS, 3 * self._settings.lease_seconds), exit=True
            )
            try:
                held = set(self._residency.held())
                if time.monotonic() >= next_beat or held != told:
                    self._beat()
                    told = held
                    next_beat = time.monotonic() + self._settings.lease_seconds / BEATS_PER_LEASE
                self._look_at_leases()
                self._progress.report(self._runner.work)
                self._partials.report(self._runner.work)
                self._metrics.flush(at=time.monotonic())
                self._end_hanging()
                self._leave_loading()
            except SQLAlchemyError as error:
                logger.warning("the lane cannot reach the database: %s", error.args[0])
                self._closed.wait(1.0)

    def _beat(self) -> None:
        if not self._registered.is_set():
            self._register()
        elif not lanes.beat(
            self._engine,
            self._leases.lane,
            finished=self._finisher.finished,
            resident=self._residency.held(),
        ):
            logger.warning("this lane was silent for too long; what it runs belongs to others now")
            self._leases.lane = new_id()
            self._register()

    def _register(self) -> None:
        info = LaneInfo(
            id=self._leases.lane,
            worker=self._place.worker,
            slot=self._place.slot,
            host=socket.gethostname(),
            pid=os.getpid(),
            pools=self._place.pools,
            device=device_kind(self._settings.device, slot=self._place.slot),
        )
        self._announcer.taken_back(lanes.register(self._engine, info))
        self._registered.set()

    def _look_at_leases(self) -> None:
        """Drop what is not this lane's any more, and tell those who have begun to listen."""
        work = self._runner.work
        leases = work.leases() if work is not None else []
        if work is None or not leases:
            return
        held = self._leases.held(leases)
        work.drop(lease.id for lease in leases if lease.id not in held)
        work.follow(prediction_id for prediction_id, listened in held.items() if listened)

    def _end_hanging(self) -> None:
        """End a step that takes too long; give up this process when that does not help.

        The pool puts another one in its place.
        """
        work = self._runner.work
        overdue_seconds = 0.0 if work is None else work.overdue_seconds()
        if work is None or overdue_seconds <= 0:
            return
        limit = work.resident.execution_timeout_seconds
        if overdue_seconds < max(MIN_GRACE_SECONDS, limit * GRACE_SHARE):
            work.interrupt()
            return
        logger.error("a step has run for longer than %g s; this lane gives itself up", limit)
        faulthandler.dump_traceback()
        taken = lanes.abandon(
            self._engine,
            self._leases.lane,
            running=[lease.id for lease in work.running()],
            failure=FailureCode.EXECUTION_TIMEOUT,
            error=f"The prediction ran for longer than {limit:g} seconds.",
        )
        self._announcer.taken_back(taken)
        os.kill(os.getpid(), signal.SIGKILL)
