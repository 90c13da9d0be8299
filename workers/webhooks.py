"""Telling receivers that their predictions have ended, again and again until they have heard it."""

from __future__ import annotations

import logging
import random
import re
import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import msgspec
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from db import outbox
from db.blob_urls import BlobUrls
from db.documents import PredictionRecord, prediction_document
from db.outbox import Delivery
from db.stream_urls import StreamUrls
from workers.addresses import ForbiddenUrl
from workers.outbound import Answer, NoAnswer, OutboundClient

logger = logging.getLogger(__name__)

# The waits between the attempts, each give or take a fifth: nine attempts within about a day.
RETRY_SECONDS = (5.0, 30.0, 120.0, 600.0, 3600.0, 3 * 3600.0, 6 * 3600.0, 12 * 3600.0)
JITTER = 0.2
RETRY_AFTER_MAX_SECONDS = 3600.0

THREADS = 16
# A receiver that is slow to answer holds so many threads at most; the others are for the others.
THREADS_PER_RECEIVER = 4
# Longer than any attempt takes, name resolution included; when it has passed, another attempt begins.
DELIVERY_LEASE_SECONDS = 60.0

HEADERS = {"Content-Type": "application/json", "User-Agent": "Augury"}


class Deliverer:
    """Delivers what is due, in threads of its own. `base_url` is where clients find the API."""

    def __init__(
        self,
        engine: Engine,
        client: OutboundClient,
        *,
        base_url: str,
        blob_urls: BlobUrls,
        stream_urls: StreamUrls,
        retry_seconds: Sequence[float] = RETRY_SECONDS,
    ) -> None:
        self._engine = engine
        self._client = client
        self._base_url = base_url.rstrip("/")
        self._blob_urls = blob_urls
        self._stream_urls = stream_urls
        self._retry_seconds = retry_seconds
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="webhook")
        self._lock = threading.Lock()
        self._busy: Counter[str] = Counter()
        self._closed = False

    def run_due(self) -> int:
        """Begin with what is due, as far as threads are free; returns how many. Waits for none of them.

        A thread that has delivered looks for more by itself, so calling this now and then is enough.
        """
        with self._lock:
            free = THREADS - self._busy.total()
            if self._closed or free < 1:
                return 0
            deliveries = outbox.due(
                self._engine,
                limit=free,
                per_receiver=THREADS_PER_RECEIVER,
                busy=self._busy,
                lease_seconds=DELIVERY_LEASE_SECONDS,
            )
            for delivery in deliveries:
                self._busy[delivery.receiver] += 1
                self._threads.submit(self._work, delivery)
        return len(deliveries)

    def close(self) -> None:
        """Finish what is under way and begin nothing new."""
        with self._lock:
            self._closed = True
        self._threads.shutdown()

    def _work(self, delivery: Delivery) -> None:
        try:
            self._deliver(delivery)
        except Exception:
            logger.exception("a webhook of %s failed here; it is tried again", delivery.prediction_id)
        finally:
            with self._lock:
                self._busy -= Counter([delivery.receiver])
        try:
            self.run_due()
        except SQLAlchemyError as error:
            logger.warning("the outbox cannot be read: %s", error)

    def _deliver(self, delivery: Delivery) -> None:
        if delivery.prediction is None:
            self._give_up(delivery, "The prediction has been deleted.")
            return
        try:
            answer = self._client.post(delivery.url, self._body(delivery.prediction), HEADERS)
        except ForbiddenUrl as error:
            self._give_up(delivery, f"The URL {error}.")
        except NoAnswer as error:
            self._try_again(delivery, f"No answer: {error}.")
        else:
            self._note(delivery, answer)

    def _note(self, delivery: Delivery, answer: Answer) -> None:
        if 200 <= answer.status < 300:
            outbox.delivered(self._engine, delivery, status=answer.status)
        elif answer.status == HTTPStatus.GONE:
            self._give_up(delivery, "The receiver answered 410 (gone).", answer.status)
        else:
            self._try_again(delivery, _reason(answer.status), answer)

    def _body(self, prediction: PredictionRecord) -> bytes:
        document = prediction_document(
            prediction, base_url=self._base_url, blob_urls=self._blob_urls, stream_urls=self._stream_urls
        )
        return msgspec.json.encode(document)

    def _give_up(self, delivery: Delivery, error: str, status: int | None = None) -> None:
        logger.warning("webhook of %s given up: %s", delivery.prediction_id, error)
        outbox.failed(self._engine, delivery, error=error, status=status, retry_seconds=None)

    def _try_again(self, delivery: Delivery, error: str, answer: Answer | None = None) -> None:
        status = None if answer is None else answer.status
        if delivery.attempts > len(self._retry_seconds):
            self._give_up(delivery, error, status)
            return
        wait = self._retry_seconds[delivery.attempts - 1]
        wait *= random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - spreads load, guards nothing
        if answer is not None:
            wait = max(wait, retry_after_seconds(answer.headers.get("retry-after", "")))
        outbox.failed(self._engine, delivery, error=error, status=status, retry_seconds=wait)


def retry_after_seconds(header: str) -> float:
    """What a Retry-After header (RFC 9110 §10.2.3: seconds or a date) asks for, an hour at most; else 0."""
    try:
        if re.fullmatch("[0-9]{1,9}", header):
            seconds = float(header)
        else:
            seconds = (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds()
    except (TypeError, ValueError):
        return 0.0
    return min(max(seconds, 0.0), RETRY_AFTER_MAX_SECONDS)


def _reason(status: int) -> str:
    hint = "; redirects are not followed" if 300 <= status < 400 else ""
    return f"The receiver answered {status}{hint}."
