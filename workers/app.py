"""The Celery app: `celery -A workers.app worker -Q <pools>` is all that a worker needs.

The parent process only takes bells from Redis and hands them to its children; each child is a lane. The
parent never opens a database connection and never imports a model's library.
"""

from __future__ import annotations

import logging
import mmap
import os
from typing import Any

from billiard import current_process
from celery import Celery, signals
from celery.utils.log import get_multiprocessing_logger
from kombu.entity import Queue

from db.ids import new_id
from db.settings import BlobSettings, DatabaseSettings
from model_types import registry
from workers.broker import BrokerSettings
from workers.events import Observers, TaskEvents
from workers.lane import Lane, Place
from workers.logs import LINE_FORMAT, stamp
from workers.settings import WorkerSettings


def _configuration() -> dict[str, Any]:
    """Read when Celery first needs it, not on import."""
    settings = WorkerSettings()
    return {
        "broker_url": BrokerSettings().celery_url(),
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_transport_options": {
            "socket_timeout": 30,
            "socket_connect_timeout": 2,
            "socket_keepalive": True,
            "health_check_interval": 10,
        },
        "imports": ("workers.tasks",),
        # Bells are not acknowledged: a lost one is rung again, and redelivery of one has no use.
        "task_queues": [Queue(name, routing_key=name, no_ack=True) for name in registry.names()],  # type: ignore[no-untyped-call]
        "task_create_missing_queues": True,
        "task_ignore_result": True,
        "accept_content": ["json"],
        "worker_concurrency": settings.worker_concurrency,
        # A worker whose lanes are all busy leaves the bells to others.
        "worker_prefetch_multiplier": 1,
        "worker_disable_prefetch": True,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        # The default of 4 s would kill children that take longer to start, for ever.
        "worker_proc_alive_timeout": 900,
        "worker_log_format": LINE_FORMAT,
        "worker_task_log_format": LINE_FORMAT,
        "worker_redirect_stdouts": False,
        "worker_max_tasks_per_child": None,
    }


app = Celery("augury")
app.add_defaults(_configuration)


class _Worker:
    """What a worker's processes know of it: set in the parent before it forks, but for the lane."""

    boot = ""
    pools: tuple[str, ...] = ()
    stopping: mmap.mmap | None = None
    lane: Lane | None = None


def current_lane() -> Lane:
    """The lane that this process is."""
    assert _Worker.lane is not None, "only a worker's child is a lane"
    return _Worker.lane


def is_stopping() -> bool:
    """Whether the worker has been asked to shut down: one byte that its processes share."""
    return _Worker.stopping is not None and _Worker.stopping[0] != 0


@signals.after_setup_logger.connect  # type: ignore[untyped-decorator]
@signals.after_setup_task_logger.connect  # type: ignore[untyped-decorator]
def _set_up_logs(logger: logging.Logger, loglevel: int, **_: object) -> None:
    stamp(logger)
    # Celery shows warnings unless told otherwise; the line of each prediction names its request.
    if loglevel <= logging.WARNING:
        logging.getLogger("workers").setLevel(min(loglevel, logging.INFO))
    # The pool's own: it says which children have died.
    stamp(get_multiprocessing_logger())
    # Two lines for each bell would drown the lines about predictions, and cost more than the bell.
    for name in ("celery.worker.strategy", "celery.app.trace"):
        logging.getLogger(name).setLevel(logging.WARNING)


@signals.celeryd_after_setup.connect  # type: ignore[untyped-decorator]
def _prepare_worker(sender: str, instance: Any, **_: object) -> None:
    _Worker.boot = f"{sender}/{new_id()}"
    _Worker.pools = tuple(sorted(instance.app.amqp.queues.consume_from))
    _Worker.stopping = mmap.mmap(-1, 1)


@signals.worker_shutting_down.connect  # type: ignore[untyped-decorator]
def _tell_lanes(**_: object) -> None:
    if _Worker.stopping is not None:
        _Worker.stopping[0] = 1


@signals.worker_process_init.connect  # type: ignore[untyped-decorator]
def _open_lane(**_: object) -> None:
    # Several lanes share the cores; an operator who wants otherwise says so.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    settings = WorkerSettings()
    if settings.hf_token:
        # Libraries look for it in the environment, not in `.env`.
        os.environ["HF_TOKEN"] = settings.hf_token.get_secret_value()
    hostname = _Worker.boot.partition("/")[0]
    _Worker.lane = Lane(
        Place(_Worker.boot, slot=getattr(current_process(), "index", 0), pools=_Worker.pools),
        settings=settings,
        database=DatabaseSettings(),
        broker=BrokerSettings(),
        blobs=BlobSettings(),
        observer=TaskEvents(app, hostname) if settings.task_events else Observers(),
        stopping=is_stopping,
    )


@signals.worker_process_shutdown.connect  # type: ignore[untyped-decorator]
def _close_lane(**_: object) -> None:
    if _Worker.lane is not None:
        _Worker.lane.close()
    logging.shutdown()
