"""What can be wrong with what is stored; only the edge knows the HTTP numbers."""


class StorageError(Exception):
    """Something about the stored rows stands in the way."""


class StorageUnavailable(StorageError):
    """The database cannot be reached."""


class NotFound(StorageError):
    """There is no such row, or it is not this caller's to see."""


class Conflict(StorageError):
    """The row exists already, or its state does not allow this."""


class IdempotencyMismatch(Conflict):
    """This Idempotency-Key was used before, with a different request."""

    def __init__(self, key: str) -> None:
        super().__init__(f"the Idempotency-Key {key!r} was used before, with a different request")
