"""One-line logs, each with the id of the request that it is about."""

from __future__ import annotations

import logging
import time
from contextvars import ContextVar

# Set by api.requests for each request. Every line that is logged meanwhile bears it, and every problem.
request_id: ContextVar[str] = ContextVar("request_id", default="-")

LINE = "%(asctime)s %(levelname)s %(request_id)s %(message)s"


class RequestIdFilter(logging.Filter):
    """Adds `request_id` to every record; `-` outside of requests."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = request_id.get()
        return True


class LineFormatter(logging.Formatter):
    """Begins each line with the time in UTC (RFC 3339, milliseconds)."""

    def __init__(self) -> None:
        super().__init__(LINE)
        self._second = 0
        self._text = ""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802 - logging's name
        # strftime costs more than all the rest of a line, and its result is good for a second.
        second = int(record.created)
        if second != self._second:
            self._second, self._text = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._text}.{int(record.msecs):03d}Z"


def configure(level: str) -> None:
    """Send this process's log to standard error, one line for each event."""
    handler = logging.StreamHandler()
    handler.addFilter(RequestIdFilter())
    handler.setFormatter(LineFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
