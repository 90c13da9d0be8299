"""Telling receivers how their predictions go: in order, and of the end until they have heard it."""

from __future__ import annotations

import logging
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import msgspec
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from db import outbox
from db.blob_urls import BlobUrls
from db.documents import PredictionRecord, prediction_document
from db.outbox import Attempt, Delivery
from db.states import Event, Status
from db.stream_urls import StreamUrls
from db.webhook_secrets import make_secret
from workers.addresses import ForbiddenUrl
from workers.outbound import Answer, NoAnswer, OutboundClient
from workers.signatures import signature_headers

logger = logging.getLogger(__name__)

# The waits between the attempts, each give or take a fifth: nine attempts within about a day.
RETRY_SECONDS = (5.0, 30.0, 120.0, 600.0, 3600.0, 3 * 3600.0, 6 * 3600.0, 12 * 3600.0)
JITTER = 0.2
RETRY_AFTER_MAX_SECONDS = 3600.0

# They mostly wait: so many that a dozen dead receivers leave some for all others.
THREADS = 64
# A receiver that is slow to answer holds so many threads at most; the others are for the others.
THREADS_PER_RECEIVER = 4
# Whoever looks for what is due does so once for itself, and once for all who have asked meanwhile.
LOOKS = 2
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
        # Held by whoever looks for what is due.
        self._looking = threading.Lock()
        self._asked = False
        self._counting = threading.Lock()
        self._busy: Counter[str] = Counter()
        self._closed = False

    def run_due(self) -> int:
        """Begin with what is due, as far as threads are free; returns how many. Waits for none of them.

        A thread that has delivered looks for more by itself, so calling this now and then is enough.
        """
        begun = 0
        self._asked = True
        for _ in range(LOOKS):
            if not (self._asked and self._looking.acquire(blocking=False)):
                break
            try:
                self._asked = False
                begun += self._begin()
            finally:
                self._looking.release()
        return begun

    def _begin(self) -> int:
        with self._counting:
            busy = Counter(self._busy)
        free = THREADS - busy.total()
        if self._closed or free < 1:
            return 0
        deliveries = outbox.due(
            self._engine,
            limit=free,
            per_receiver=THREADS_PER_RECEIVER,
            busy=busy,
            lease_seconds=DELIVERY_LEASE_SECONDS,
        )
        with self._counting:
            self._busy.update(delivery.receiver for delivery in deliveries)
        for delivery in deliveries:
            self._threads.submit(self._work, delivery)
        return len(deliveries)

    def close(self) -> None:
        """Finish what is under way and begin nothing new."""
        with self._looking:
            self._closed = True
        self._threads.shutdown()

    def _work(self, delivery: Delivery) -> None:
        try:
            self._deliver(delivery)
        except Exception:
            logger.exception("a webhook of %s failed here; it is tried again", delivery.prediction_id)
        finally:
            with self._counting:
                self._busy -= Counter([delivery.receiver])
        try:
            self.run_due()
        except SQLAlchemyError as error:
            logger.warning("the outbox cannot be read: %s", error)

    def _deliver(self, delivery: Delivery) -> None:
        prediction = delivery.prediction
        if prediction is not None and _is_overtaken(delivery, prediction):
            outbox.drop(self._engine, delivery)
            return
        attempt = self._attempt(delivery, prediction)
        if attempt.error is None:
            outbox.delivered(self._engine, delivery, attempt)
            return
        wait = self._retry_seconds_after(delivery, attempt)
        if wait is None and delivery.event == Event.COMPLETED:
            logger.warning("webhook of %s given up: %s", delivery.prediction_id, attempt.error)
        outbox.failed(self._engine, delivery, attempt, retry_seconds=wait)

    def _attempt(self, delivery: Delivery, prediction: PredictionRecord | None) -> Attempt:
        if prediction is None:
            return Attempt("The prediction has been deleted.", is_final=True)
        # Who asks for it again, after that answer, gets it.
        if delivery.is_unwanted and delivery.attempts == 1:
            return Attempt("The receiver has answered 410 (gone) to an earlier event.", is_final=True)
        secrets = delivery.secrets or make_secret(self._engine, delivery.owner_id)
        if not secrets:
            return Attempt("The account that asked for it does not exist any more.", is_final=True)
        body = self._body(_as_started(prediction) if delivery.event == Event.START else prediction)
        return self._send(delivery, body, secrets)

    def _send(self, delivery: Delivery, body: bytes, secrets: Sequence[str]) -> Attempt:
        headers = HEADERS | signature_headers(secrets, delivery.id, body, at=int(time.time()))
        began_at = time.perf_counter()
        try:
            answer = self._client.post(delivery.url, body, headers)
        except ForbiddenUrl as error:
            attempt = Attempt(f"The URL {error}.", is_final=True)
        except NoAnswer as error:
            attempt = Attempt(f"No answer: {error}.")
        else:
            attempt = _judged(answer)
        return replace(attempt, milliseconds=round((time.perf_counter() - began_at) * 1000))

    def _body(self, prediction: PredictionRecord) -> bytes:
        document = prediction_document(
            prediction, base_url=self._base_url, blob_urls=self._blob_urls, stream_urls=self._stream_urls
        )
        return msgspec.json.encode(document)

    def _retry_seconds_after(self, delivery: Delivery, attempt: Attempt) -> float | None:
        """How long to wait for the next attempt; None where there is none. Only the end is told again."""
        if attempt.is_final or delivery.event != Event.COMPLETED:
            return None
        if delivery.attempts > len(self._retry_seconds):
            return None
        wait = self._retry_seconds[delivery.attempts - 1]
        wait *= random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - spreads load, guards nothing
        return max(wait, attempt.retry_after_seconds)


def _is_overtaken(delivery: Delivery, prediction: PredictionRecord) -> bool:
    """Whether it is news that the end has made old before it was told."""
    is_news = delivery.event in (Event.OUTPUT, Event.LOGS) and delivery.attempts == 1
    return is_news and prediction.completed_at is not None


def _as_started(prediction: PredictionRecord) -> PredictionRecord:
    """The prediction as it was when a lane began, whatever has become of it since."""
    return msgspec.structs.replace(
        prediction,
        status=Status.PROCESSING,
        output=None,
        logs="",
        error=None,
        failure=None,
        progress=None,
        completed_at=None,
    )


def _judged(answer: Answer) -> Attempt:
    """What an answer means: 2xx that it was heard, 410 that no more is wanted."""
    status = answer.status
    if 200 <= status < 300:
        return Attempt(status=status)
    if status == HTTPStatus.GONE:
        return Attempt("The receiver answered 410 (gone).", status=status, is_final=True)
    hint = "; redirects are not followed" if 300 <= status < 400 else ""
    return Attempt(
        f"The receiver answered {status}{hint}.",
        status=status,
        retry_after_seconds=retry_after_seconds(answer.headers.get("retry-after", "")),
    )


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
