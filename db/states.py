"""The words for a prediction's state and priority, for what webhooks hear of, and for why one failed."""

from enum import IntEnum, StrEnum


class Status(StrEnum):
    """`starting → processing → succeeded | failed | canceled`; a lost lease goes back to `starting`."""

    STARTING = "starting"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"


TERMINAL = frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELED})


class Priority(IntEnum):
    """How urgent a prediction is. Nobody goes before the default: one can only let others go first."""

    DEFAULT = 0
    FLEX = 1
    BATCH = 2


class Event(StrEnum):
    """What a webhook may hear of: each chunk of output and each line of logs would be too often."""

    START = "start"
    OUTPUT = "output"
    LOGS = "logs"
    COMPLETED = "completed"


class FailureCode(StrEnum):
    """Why a prediction failed, for machines. Model types add their own words (`out_of_memory`, …)."""

    INVALID_INPUT = "invalid_input"
    MODEL_ERROR = "model_error"
    MODEL_UNAVAILABLE = "model_unavailable"
    WORKER_LOST = "worker_lost"
    EXECUTION_TIMEOUT = "execution_timeout"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    STORAGE_UNAVAILABLE = "storage_unavailable"
