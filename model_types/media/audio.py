"""Audio out of bytes: told by its content, bounded while it is decoded, as models of speech want it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from io import BytesIO
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from model_types.media.limits import MediaLimits, UnusableFile, check_size

SAMPLE_RATE_HZ = 16_000
# What is decoded at once, in samples of all channels together.
_BLOCK_SAMPLES = 1 << 20
# What libsndfile says of a FLAC without a length; it cannot read one to its end.
_UNKNOWN_FRAMES = (1 << 63) - 1
# Demuxers of FFmpeg, by media type; they are used where PyAV is installed.
_DEMUXERS = {"audio/mp4": "mp4", "audio/webm": "matroska"}
_SUPPORTED = "WAV, FLAC, OGG, MP3 and AIFF"

Samples = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Sound:
    """Mono samples, between -1 and 1 as a rule, at 16 kHz."""

    samples: Samples

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return len(self.samples) / SAMPLE_RATE_HZ


def decode(data: bytes, limits: MediaLimits) -> Sound:
    """The sound: its channels averaged, resampled to 16 kHz. Raises `UnusableFile`."""
    blocks: list[Samples] = []
    room = int(limits.seconds * SAMPLE_RATE_HZ) + SAMPLE_RATE_HZ
    with _opened(data, limits) as (_, decoded):
        # The length that a file tells may be too little.
        for block in decoded:
            blocks.append(block)
            room -= len(block)
            if room < 0:
                raise UnusableFile(_too_long(limits))
    samples = np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
    if not len(samples):
        raise UnusableFile("has no sound in it")
    if not np.isfinite(samples).all():
        raise UnusableFile("has samples that are not numbers")
    return Sound(samples)


def check(data: bytes, limits: MediaLimits) -> str:
    """The media type of audio whose head is sound and promises no excess length. Raises `UnusableFile`."""
    with _opened(data, limits) as (media_type, _):
        return media_type


@contextmanager
def _opened(data: bytes, limits: MediaLimits) -> Iterator[tuple[str, Iterator[Samples]]]:
    """The media type, and what is decoded as it is asked for. Raises `UnusableFile`, also meanwhile."""
    check_size(len(data), limits)
    media_type = _sniffed(data)
    if media_type in _DEMUXERS:
        with _opened_by_av(data, _DEMUXERS[media_type], limits) as blocks:
            yield media_type, blocks
        return
    try:
        with soundfile.SoundFile(BytesIO(data)) as file:
            if file.frames == _UNKNOWN_FRAMES:
                raise UnusableFile("does not tell how long it is, as what was recorded into a pipe does not")
            _check_seconds(file.frames / file.samplerate, limits)
            yield media_type, _resampled(file)
    except soundfile.LibsndfileError as error:
        raise UnusableFile(f"is a broken or incomplete audio file ({error.error_string})") from error


def _sniffed(data: bytes) -> str:
    """The media type that the first bytes tell. Raises `UnusableFile`."""
    head = data[:12]
    if head[:4] in (b"RIFF", b"RF64") and head[8:] == b"WAVE":
        return "audio/wav"
    if head[:4] == b"FORM" and head[8:11] == b"AIF":
        return "audio/aiff"
    if head[4:8] == b"ftyp":
        return "audio/mp4"
    # A frame of MPEG audio begins with eleven set bits; two more that are not set name layer 3.
    if head[:3] == b"ID3" or (head[:1] == b"\xff" and len(head) > 1 and head[1] & 0xE6 == 0xE2):
        return "audio/mpeg"
    for magic, media_type in ((b"fLaC", "flac"), (b"OggS", "ogg"), (b"\x1a\x45\xdf\xa3", "webm")):
        if head.startswith(magic):
            return f"audio/{media_type}"
    raise UnusableFile(f"is not audio in one of the formats {_supported()}")


def _supported() -> str:
    return _SUPPORTED.replace(" and AIFF", ", AIFF, MP4 and WebM") if find_spec("av") else _SUPPORTED


def _check_seconds(seconds: float, limits: MediaLimits) -> None:
    if seconds > limits.seconds:
        raise UnusableFile(_too_long(limits))


def _too_long(limits: MediaLimits) -> str:
    return f"lasts longer than {limits.seconds:g} seconds, which is the most"


def _resampled(file: Any) -> Iterator[Samples]:
    """Block by block, so that many channels at a high rate take no more memory than few."""
    import soxr  # only what decodes needs it: a gateway runs without

    stream = soxr.ResampleStream(file.samplerate, SAMPLE_RATE_HZ, 1, dtype="float32")
    frames = max(1, _BLOCK_SAMPLES // file.channels)
    while len(block := file.read(frames, dtype="float32", always_2d=True)):
        yield stream.resample_chunk(block.mean(axis=1))
    yield stream.resample_chunk(np.zeros(0, np.float32), last=True)


@contextmanager
def _opened_by_av(data: bytes, demuxer: str, limits: MediaLimits) -> Iterator[Iterator[Samples]]:
    if find_spec("av") is None:
        raise UnusableFile(f"is MP4 or WebM, which takes PyAV to read; without it there are {_SUPPORTED}")
    import av

    try:
        with av.open(BytesIO(data), "r", format=demuxer) as container:
            if not container.streams.audio:
                raise UnusableFile("has no sound in it")
            _check_seconds((container.duration or 0) / av.time_base, limits)
            yield _resampled_by_av(container)
    except av.FFmpegError as error:
        raise UnusableFile(f"is a broken or incomplete audio file ({error.strerror})") from error


def _resampled_by_av(container: Any) -> Iterator[Samples]:
    import av

    resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE_HZ)
    for frame in container.decode(audio=0):
        for block in resampler.resample(frame):
            yield block.to_ndarray()[0]
    for block in resampler.resample(None):
        yield block.to_ndarray()[0]
