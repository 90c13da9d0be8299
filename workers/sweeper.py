"""Deletes uploads that have expired and files of what is gone, in a thread of its own: stores may be slow."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import get_args

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from db import retention
from db.blobs import Blobs, BlobStoreUnavailable, Kind
from db.data_removal import remove_data
from db.ids import floor_id

logger = logging.getLogger(__name__)

# A file may be there before its prediction is: uploads are stored first.
ORPHAN_AGE = timedelta(days=1)


class Sweeper:
    """Goes through the store, one folder of some hours after another; one round at a time."""

    def __init__(self, engine: Engine, blobs: Blobs) -> None:
        self._engine = engine
        self._blobs = blobs
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sweeper")
        self._round: Future[None] | None = None
        self._closed = threading.Event()
        self._swept: set[str] = set()
        self._data_since = ""

    def begin(self, *, expired_before: datetime, data_before: datetime | None = None) -> None:
        """Begin a round, unless one is under way. What is older than that may have been dropped since.

        Predictions made before `data_before` lose their data.
        """
        if self._round is None or self._round.done():
            self._round = self._thread.submit(self._sweep, expired_before, data_before)

    def close(self) -> None:
        """End the round soon; the next steward goes on."""
        self._closed.set()
        self._thread.shutdown()

    def _sweep(self, expired_before: datetime, data_before: datetime | None) -> None:
        try:
            if data_before is not None:
                self._data_since = remove_data(
                    self._engine,
                    self._blobs,
                    since=self._data_since,
                    before=data_before,
                    stopping=self._closed.is_set,
                )
            retention.delete_expired_files(self._engine, self._blobs, stopping=self._closed.is_set)
            for kind in get_args(Kind):
                for folder in retention.eras(self._blobs, kind, before=datetime.now(UTC) - ORPHAN_AGE):
                    if self._closed.is_set():
                        return
                    self._sweep_folder(folder, expired_before)
        except (SQLAlchemyError, BlobStoreUnavailable) as error:
            logger.warning("files cannot be swept now; the next round goes on: %s", error.args[0])

    def _sweep_folder(self, folder: str, expired_before: datetime) -> None:
        """Once for orphans; after that, predictions only go when they expire, and uploads by their rows."""
        has_expired = folder.partition("/")[2] <= floor_id(expired_before)
        if has_expired or folder not in self._swept:
            deleted = retention.delete_orphans(
                self._engine, self._blobs, folder, stopping=self._closed.is_set
            )
            self._swept.add(folder)
            if deleted:
                logger.info("deleted %d orphans in %s", deleted, folder)
