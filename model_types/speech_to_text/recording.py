"""A recording on its way to its transcript: how far it has been heard, and what was said up to there."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from model_types.base import Tell
from model_types.media.audio import SAMPLE_RATE_HZ, Samples
from model_types.speech_to_text.schema import Segment, Task, Timestamps, Transcript, Word
from model_types.text_generation.rows import Row

# Whisper's code counts windows in frames of its spectrogram.
SAMPLES_PER_FRAME = SAMPLE_RATE_HZ // 100
# A timestamp token counts these.
TICKS_PER_SECOND = 50
SAMPLES_PER_TICK = SAMPLE_RATE_HZ // TICKS_PER_SECOND
# What is shorter holds no word, and Whisper would make one up.
SHORTEST_WINDOW_SECONDS = 0.1
# A model that closes its segments at once would hear the same window over and over.
SHORTEST_ADVANCE_TICKS = TICKS_PER_SECOND


class Span(NamedTuple):
    """The tokens of a segment; times are ticks from the window's beginning."""

    start: int
    end: int
    ids: list[int]


class Written(NamedTuple):
    """The tokens that were written for a window, without the end of text, and what the model made of it.

    `log_probability` is the natural logarithm of the tokens' probabilities, on average and with the end's;
    `no_speech` how likely nobody speaks, where the model can tell.
    """

    ids: list[int]
    log_probability: float
    no_speech: float | None


class Heard(NamedTuple):
    """What one window came to: its segments, its words where they are wanted, and how many ticks it took."""

    written: Written
    spans: list[Span]
    texts: list[str]
    words: list[tuple[int, int, str]]
    ticks: int


@dataclass(slots=True, eq=False)
class Recording:
    """Mono samples at 16 kHz, what is asked of them, and what has been heard so far.

    `features` are those of the next window, [mels, frames], `row` what the model writes after. `language`
    is None until it has been detected. `tell` is set by another thread while it is heard.
    """

    samples: Samples
    row: Row
    context: list[int]
    language: str | None
    task: Task
    timestamps: Timestamps
    with_times: bool
    window_samples: int
    features: Any = None
    heard_samples: int = 0
    text: str = ""
    segments: list[Segment] = field(default_factory=list)
    words: list[Word] = field(default_factory=list)
    tell: Tell | None = None
    told_characters: int = 0

    @property
    def seconds(self) -> float:
        return len(self.samples) / SAMPLE_RATE_HZ

    @property
    def share(self) -> float:
        """How much of it has been heard, 0 to 1."""
        return min(1.0, self.heard_samples / max(1, len(self.samples)))

    @property
    def is_heard(self) -> bool:
        """Whether nothing is left that could hold a word."""
        return len(self.samples) - self.heard_samples < SHORTEST_WINDOW_SECONDS * SAMPLE_RATE_HZ

    def window(self) -> Samples:
        """The samples of the next window."""
        return self.samples[self.heard_samples : self.heard_samples + self.window_samples]

    def window_ticks(self) -> int:
        """How long the next window is."""
        return -(-len(self.window()) // SAMPLES_PER_TICK)

    def hear(self, heard: Heard) -> None:
        """Take down what the window has come to, and move on by as much as it took."""
        began = self.heard_samples / SAMPLE_RATE_HZ

        def at(ticks: int) -> float:
            return round(min(began + ticks / TICKS_PER_SECOND, self.seconds), 2)

        ratio = compression_ratio("".join(heard.texts))
        for span, text in zip(heard.spans, heard.texts, strict=True):
            self.text += text
            if text.strip():
                segment = Segment(
                    id=len(self.segments),
                    seek=self.heard_samples // SAMPLES_PER_FRAME,
                    start=at(span.start),
                    end=at(span.end),
                    text=text.strip(),
                    tokens=span.ids,
                    temperature=self.row.temperature,
                    avg_logprob=heard.written.log_probability,
                    compression_ratio=ratio,
                    no_speech_prob=heard.written.no_speech,
                )
                self.segments.append(segment)
        self.words += [Word(start=at(start), end=at(end), word=word) for start, end, word in heard.words]
        self.heard_samples += heard.ticks * SAMPLES_PER_TICK
        self.row.seed = (self.row.seed + 1) % 2**63
        self.tell_news()

    def tell_news(self, said: str = "") -> None:
        """Tell what is new of the text, which goes on with `said` in the window that is being heard."""
        text = (self.text + said).strip()
        if self.tell is not None and len(text) > self.told_characters:
            self.tell(self.told_characters, text[self.told_characters :])
            self.told_characters = len(text)

    def transcript(self, language: str) -> Transcript:
        """All that was said."""
        return Transcript(
            text=self.text.strip(),
            language=language,
            duration=round(self.seconds, 3),
            segments=None if self.timestamps == "none" else self.segments,
            words=self.words if self.timestamps == "word" else None,
        )


def split(ids: Sequence[int], first_timestamp: int, window_ticks: int) -> tuple[list[Span], int]:
    """The segments that a window's tokens stand for, and how many ticks of the window they take.

    A segment that the window's end has cut is left for the next window, unless it is the only one
    (Radford et al. 2022, "Robust Speech Recognition via Large-Scale Weak Supervision", section 3.8). What
    begins after the recording's end was made up.
    """
    spans, start, text = closed(ids, first_timestamp)
    # Two times at the end say that something follows there, one that nothing does.
    goes_on = bool(text) or all(token >= first_timestamp for token in ids[-2:])
    last = spans[-1].end if spans else 0
    if goes_on and SHORTEST_ADVANCE_TICKS <= last < window_ticks:
        return spans, last
    if text:
        spans.append(Span(start, window_ticks, text))
    return [span for span in spans if span.start < window_ticks], window_ticks


def closed(ids: Sequence[int], first_timestamp: int) -> tuple[list[Span], int, list[int]]:
    """The segments that a time ends, and when what follows the last of them begins, and its text."""
    spans: list[Span] = []
    text: list[int] = []
    start = 0
    for token in ids:
        if token < first_timestamp:
            text.append(token)
            continue
        tick = token - first_timestamp
        if text:
            spans.append(Span(start, tick, text))
            text = []
        start = tick
    return spans, start, text


def compression_ratio(text: str) -> float:
    """How many times smaller zlib makes a text: large for what is said over and over (ibid., section 4.5)."""
    data = text.encode()
    return len(data) / len(zlib.compress(data))
