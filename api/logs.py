"""One-line logs, each with the id of the request that it is about."""

from __future__ import annotations

import logging
from contextvars import ContextVar

# Set by api.requests for each request. Every line that is logged meanwhile bears it, and every problem.
request_id: ContextVar[str] = ContextVar("request_id", default="-")

LINE = "%(asctime)s.%(msecs)03d %(levelname)s %(request_id)s %(message)s"


class RequestIdFilter(logging.Filter):
    """Adds `request_id` to every record; `-` outside of requests."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = request_id.get()
        return True


def configure(level: str) -> None:
    """Send this process's log to standard error, one line for each event."""
    handler = logging.StreamHandler()
    handler.addFilter(RequestIdFilter())
    handler.setFormatter(logging.Formatter(LINE, datefmt="%Y-%m-%dT%H:%M:%S"))
    logging.basicConfig(level=level, handlers=[handler], force=True)
