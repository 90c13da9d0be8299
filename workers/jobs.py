"""One leased prediction in a lane: what it prints, the chunks of its output, and who hears of them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from typing import Any

from db.leases import Lease, Outcome
from db.states import Event
from model_types.base import Chunks, Failure
from workers.messages import StreamEntry
from workers.outputs import json_of, outcome_of
from workers.printing import Printed
from workers.streams import Stream

logger = logging.getLogger(__name__)

BAR_CHARACTERS = 10


class Job:
    """A lease, its prepared input, and when the session took it (monotonic seconds).

    Its chunks are pieces of a text, or JSON texts of the items of a list. Safe from any thread.
    """

    def __init__(self, lease: Lease, prepared: Any = None) -> None:
        self.lease = lease
        self.prepared = prepared
        self.began_at = 0.0
        self.chunks_are: Chunks = None
        self.text_field: str | None = None
        self._chunks: list[str] = []
        self._heard = 0
        self._is_deaf = False
        self._printed = Printed()
        self._percent = 0
        self._stream: Stream | None = None
        self._lock = threading.Lock()

    @property
    def is_awaited(self) -> bool:
        """Whether somebody has asked to hear of it before it ends."""
        events = self.lease.webhook_events
        return self.lease.streams or self.is_followed or Event.OUTPUT in events or Event.LOGS in events

    @property
    def logs(self) -> str:
        """What it has printed."""
        with self._lock:
            return str(self._printed)

    @property
    def is_followed(self) -> bool:
        """Whether what it comes to goes to a stream."""
        return self._stream is not None

    @property
    def wants_chunks(self) -> bool:
        """Whether its output is to be heard while it comes. Items cost nothing, texts have to be decoded."""
        if self.chunks_are is None:
            return False
        asked = self.lease.streams or self.is_followed or Event.OUTPUT in self.lease.webhook_events
        return asked or self.chunks_are == "items"

    def follow(self, stream: Stream) -> None:
        """From now on what it comes to goes to this stream, first what there is so far."""
        with self._lock:
            if self._stream is not None:
                return
            self._stream = stream
            if logs := str(self._printed):
                stream.add(StreamEntry("logs", logs))
            so_far = ["".join(self._chunks)] if self.chunks_are == "text" else self._chunks
            for chunk in so_far:
                if chunk:
                    stream.add(self._entry(chunk))

    def hear(self, start: int, chunk: Any) -> None:
        """Take the next chunk of the output, but for what was heard before its run began again."""
        with self._lock:
            known = self._heard - start
            if self._is_deaf or known < 0:
                return
            if self.chunks_are == "text":
                text = chunk[known:]
                self._heard += len(text)
            else:
                text = "" if known else json_of(chunk)
                # What cannot be told yet, such as a file, comes at the end, with all that follows it.
                self._is_deaf = text is None
                self._heard += 1 if text else 0
            if text:
                self._chunks.append(text)
                if self._stream is not None:
                    self._stream.add(self._entry(text))

    def _entry(self, chunk: str) -> StreamEntry:
        return StreamEntry("item" if self.chunks_are == "items" else "output", chunk)

    def print(self, text: str) -> None:
        """Take what was printed into its logs."""
        with self._lock:
            text = self._printed.add(text)
            if text and self._stream is not None:
                self._stream.add(StreamEntry("logs", text))

    def note_progress(self, share: float) -> None:
        """Write how far it has come, 0 to 1, into its logs, as clients that draw bars read it there."""
        percent = int(share * 100)
        if percent != self._percent:
            self._percent = percent
            bar = "#" * (percent * BAR_CHARACTERS // 100)
            self.print(f"\r{percent:3d}%|{bar:<{BAR_CHARACTERS}}| {percent}/100\n")

    def state(self) -> tuple[int, int]:
        """Counts that grow with its chunks and with its logs."""
        return len(self._chunks), self._printed.characters

    def so_far(self) -> tuple[str | None, str]:
        """The output so far as JSON text, None where there is none yet, and the logs so far."""
        with self._lock:
            chunks, logs = list(self._chunks), str(self._printed)
        if not chunks:
            return None, logs
        if self.chunks_are == "items":
            return f"[{','.join(chunks)}]", logs
        if self.text_field is not None:
            return json_of({self.text_field: "".join(chunks)}), logs
        return json_of(chunks if self.lease.streams else "".join(chunks)), logs

    def outcome(self, result: Any | Failure, metrics: Mapping[str, float | str] | None = None) -> Outcome:
        """How it ends. Who follows it has been told all of its text then."""
        if isinstance(result, Failure) and result.traceback:
            self.print(f"\r{result.traceback}")  # on a line of its own
        elif self._percent and not isinstance(result, Failure):
            self.note_progress(1.0)
        if isinstance(result, str) and self.chunks_are == "text":
            result = self._whole(result)
        elif self.text_field is not None and not isinstance(result, Failure):
            self._whole(getattr(result, self.text_field))
        elif self.chunks_are == "text" and self.lease.streams and not isinstance(result, Failure):
            # A file in the place of the text: a list of pieces is asked for, and this is the only one.
            result = [result]
        return outcome_of(self.lease, result, logs=self.logs, metrics=metrics)

    def _whole(self, text: str) -> str | list[str]:
        if not (self.lease.streams or self.is_followed):
            return text
        told = "".join(self._chunks)
        if text.startswith(told):
            self.hear(len(told), text[len(told) :])
            return self._chunks if self.lease.streams else text
        # Decoded together the tokens read differently, or it ran again and was not quite the same.
        logger.warning("the text of prediction %s is not what was told of it", self.lease.id)
        return [text] if self.lease.streams else text
