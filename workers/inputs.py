"""Files that predictions take in: fetched and decoded in a lane, before the model prepares their inputs."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from db.blobs import REFERENCE_PREFIX, BlobNotFound, Blobs, key_of
from model_types.media import InputFile, UnusableFile, files_in, takes_files
from model_types.media.content import decode
from model_types.media.limits import readable_bytes
from model_types.media.references import Remote, parse_reference
from workers.addresses import ForbiddenUrl
from workers.input_settings import InputSettings
from workers.outbound import NoAnswer, OutboundClient, TooMuch

THREADS = 8
# How many inputs' files may be in memory before the model has prepared them.
AHEAD = 8


@dataclass(frozen=True, slots=True)
class Loading:
    """The files of one input, on their way."""

    files: Sequence[Future[None]] = ()

    def wait(self) -> None:
        """Return when all of them are there. Raises `UnusableFile` and `BlobStoreUnavailable`."""
        for file in self.files:
            file.result()


class InputFiles:
    """Gets the files of inputs. The files of several inputs are fetched and decoded at the same time."""

    def __init__(self, settings: InputSettings, blobs: Blobs) -> None:
        self._limits = settings.media_limits
        self._blobs = blobs
        self._remote = (
            OutboundClient(settings.input_allow_cidrs, timeout_seconds=settings.input_fetch_seconds)
            if settings.allow_remote_inputs
            else None
        )
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="inputs")

    def load(self, inputs: Iterable[tuple[str, Any]]) -> Iterator[Loading]:
        """One `Loading` for each prediction's id and validated input, in their order; a few are begun ahead.

        When it has been waited for, `content` of each of the input's files is there. What is no input has
        no files.
        """
        ahead: deque[Loading] = deque()
        for prediction_id, value in inputs:
            ahead.append(self._begin(prediction_id, value))
            if len(ahead) > AHEAD:
                yield ahead.popleft()
        yield from ahead

    def close(self) -> None:
        """Stop the threads; what has not begun is given up."""
        self._threads.shutdown(cancel_futures=True)

    def _begin(self, prediction_id: str, value: Any) -> Loading:
        if not (isinstance(value, BaseModel) and takes_files(type(value))):
            return Loading()
        files = files_in(value)
        return Loading([self._threads.submit(self._fill, prediction_id, *each) for each in files])

    def _fill(self, prediction_id: str, path: Sequence[str], file: InputFile) -> None:
        try:
            file.content = decode(self._bytes(prediction_id, file), file.kind, self._limits.of(file.kind))
        except UnusableFile as error:
            raise UnusableFile(f"{'.'.join(('input', *path))} {error}") from error

    def _bytes(self, prediction_id: str, file: InputFile) -> bytes:
        if file.reference.startswith(REFERENCE_PREFIX):
            return self._kept(key_of(file.reference, "inputs", prediction_id))
        parsed = parse_reference(file.reference, self._limits.of(file.kind))
        if isinstance(parsed, Remote):
            return self._fetched(parsed.url, self._limits.remote(file.kind).bytes)
        return parsed.data

    def _kept(self, key: str | None) -> bytes:
        if key is None:
            raise UnusableFile("is not a file of this prediction's own")
        try:
            return self._blobs.read(key)
        except BlobNotFound:
            raise UnusableFile("is not kept here any more") from None

    def _fetched(self, url: str, max_bytes: int) -> bytes:
        if self._remote is None:
            raise UnusableFile("is a URL, and this server fetches none: send the file along")
        try:
            return self._remote.get(url, max_bytes=max_bytes)
        except TooMuch:
            size = readable_bytes(max_bytes)
            raise UnusableFile(f"is larger than {size}, which is the most") from None
        except ForbiddenUrl as error:
            raise UnusableFile(str(error)) from error
        except NoAnswer as error:
            raise UnusableFile(f"cannot be fetched: {error}") from error
