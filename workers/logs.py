"""Log lines that name the request they belong to."""

import logging

LINE_FORMAT = "%(asctime)s %(levelname)s %(processName)s %(request_id)s %(message)s"


class _RequestStamp(logging.Filter):
    """Gives every record a `request_id`, `-` where it belongs to none."""

    def filter(self, record: logging.LogRecord) -> bool:
        if not hasattr(record, "request_id"):
            record.request_id = "-"
        return True


def stamp(logger: logging.Logger) -> None:
    """Have every handler of a logger stamp its records. Repeating it does no harm."""
    for handler in logger.handlers:
        if not any(isinstance(known, _RequestStamp) for known in handler.filters):
            handler.addFilter(_RequestStamp())


def set_up() -> None:
    """Log to standard error, one line a record: for processes of ours that Celery does not start."""
    logging.basicConfig(level=logging.INFO, format=LINE_FORMAT)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    stamp(logging.getLogger())
