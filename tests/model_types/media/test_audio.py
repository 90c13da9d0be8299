"""Audio: every format that is taken, as mono at 16 kHz; and what is refused."""

from __future__ import annotations

import struct
from io import BytesIO

import av
import numpy as np
import pytest

from model_types.media import audio
from model_types.media.audio import Samples, Sound
from model_types.media.limits import MediaLimits, UnusableFile
from tests.model_types.media.files import recorded, tone

LIMITS = MediaLimits()


def loudest_hertz(sound: Sound) -> float:
    """The frequency that stands out."""
    spectrum = np.abs(np.fft.rfft(sound.samples))
    return float(np.argmax(spectrum) / sound.seconds)


def film(samples: Samples, container: str, codec: str, rate: int = 48_000) -> bytes:
    """A tone as phones and browsers record it."""
    file = BytesIO()
    with av.open(file, "w", format=container) as output:
        stream = output.add_stream(codec, rate=rate, layout="mono")
        assert isinstance(stream, av.AudioStream)
        planar = np.ascontiguousarray(samples[:, :1].T)
        frame = av.AudioFrame.from_ndarray(planar, format="fltp", layout="mono")
        frame.sample_rate = rate
        for each in (frame, None):
            output.mux(stream.encode(each))
    return file.getvalue()


@pytest.mark.parametrize(
    ("audio_format", "media_type"),
    [
        ("WAV", "audio/wav"),
        ("FLAC", "audio/flac"),
        ("OGG", "audio/ogg"),
        ("MP3", "audio/mpeg"),
        ("AIFF", "audio/aiff"),
    ],
)
def test_every_format_becomes_mono_at_sixteen_kilohertz(audio_format: str, media_type: str) -> None:
    data = recorded(tone(), audio_format=audio_format)
    assert audio.check(data, LIMITS) == media_type
    sound = audio.decode(data, LIMITS)
    assert sound.samples.dtype == np.float32
    assert sound.seconds == pytest.approx(1.0, abs=0.06)
    assert loudest_hertz(sound) == pytest.approx(440, abs=2)
    # Half of what one channel of two holds.
    assert np.abs(sound.samples[2000:-2000]).max() == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize(
    ("container", "codec", "media_type"),
    [("mp4", "aac", "audio/mp4"), ("webm", "libopus", "audio/webm")],
)
def test_what_phones_and_browsers_record_is_read(container: str, codec: str, media_type: str) -> None:
    data = film(tone(rate=48_000), container, codec)
    assert audio.check(data, LIMITS) == media_type
    sound = audio.decode(data, LIMITS)
    assert sound.seconds == pytest.approx(1.0, abs=0.06)
    assert loudest_hertz(sound) == pytest.approx(440, abs=2)


@pytest.mark.parametrize("rate", [8000, 11_025, 16_000, 96_000])
def test_any_rate_is_resampled(rate: int) -> None:
    sound = audio.decode(recorded(tone(rate=rate), rate), LIMITS)
    assert len(sound.samples) == pytest.approx(16_000, abs=2)
    assert loudest_hertz(sound) == pytest.approx(440, abs=1)


def test_blocks_leave_no_seams(monkeypatch: pytest.MonkeyPatch) -> None:
    data = recorded(tone(2.0))
    at_once = audio.decode(data, LIMITS).samples
    monkeypatch.setattr(audio, "_BLOCK_SAMPLES", 1000)
    np.testing.assert_allclose(audio.decode(data, LIMITS).samples, at_once, atol=1e-6)


@pytest.mark.parametrize("data", [b"hello", b"\x89PNG\r\n\x1a\n" + bytes(20), b"RIFF\0\0\0\0WEBPVP8 "])
def test_what_is_no_audio_is_told_which_formats_there_are(data: bytes) -> None:
    with pytest.raises(UnusableFile, match="WAV, FLAC, OGG, MP3, AIFF, MP4 and WebM"):
        audio.check(data, LIMITS)


@pytest.mark.parametrize(
    "data",
    [
        b"RIFF\0\0\0\0WAVE",
        b"fLaC" + bytes(50),
        b"OggS" + bytes(50),
        b"\0\0\0\x20ftypisom" + bytes(50),
        b"\x1a\x45\xdf\xa3" + bytes(50),
    ],
)
def test_a_broken_head_is_refused_at_the_edge(data: bytes) -> None:
    with pytest.raises(UnusableFile, match="broken or incomplete"):
        audio.check(data, LIMITS)


@pytest.mark.parametrize("container", ["FLAC", "mp4"])
def test_a_file_that_breaks_off_is_refused(container: str) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, (48_000, 1)).astype(np.float32)
    whole = recorded(noise, audio_format="FLAC") if container == "FLAC" else film(noise, "mp4", "aac")
    with pytest.raises(UnusableFile, match="broken or incomplete"):
        audio.decode(whole[: len(whole) // 2], LIMITS)


@pytest.mark.parametrize("container", ["WAV", "mp4"])
def test_what_lasts_too_long_is_refused_by_its_head(container: str) -> None:
    samples = tone(3.0, rate=48_000)
    data = recorded(samples, 48_000) if container == "WAV" else film(samples, "mp4", "aac")
    with pytest.raises(UnusableFile, match="lasts longer than 1 seconds"):
        audio.check(data, MediaLimits(seconds=1))


def test_a_head_that_tells_too_little_does_not_let_more_through() -> None:
    """Opus in WebM need not say how long it is."""
    data = film(tone(4.0, rate=48_000), "webm", "libopus")
    claimed = data.replace(b"\x44\x89", b"\xec\x80", 1)
    assert claimed != data
    with pytest.raises(UnusableFile, match="lasts longer than 1 seconds"):
        audio.decode(claimed, MediaLimits(seconds=1))


def test_a_stream_without_a_length_is_refused_as_such() -> None:
    data = bytearray(recorded(tone(0.1), audio_format="FLAC"))
    # The number of samples: 36 bits of the first block, behind the magic and the block's own head.
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    with pytest.raises(UnusableFile, match="does not tell how long it is"):
        audio.check(bytes(data), LIMITS)


def test_silence_of_no_length_is_no_sound() -> None:
    with pytest.raises(UnusableFile, match="no sound"):
        audio.decode(recorded(tone(0.0)), LIMITS)


def test_samples_that_are_not_numbers_are_refused() -> None:
    samples = b"".join(struct.pack("<f", value) for value in (0.1, float("nan"), 0.1))
    head = b"RIFF" + struct.pack("<I", 36 + len(samples)) + b"WAVEfmt "
    head += struct.pack("<IHHIIHH", 16, 3, 1, 16_000, 64_000, 4, 32) + b"data"
    with pytest.raises(UnusableFile, match="not numbers"):
        audio.decode(head + struct.pack("<I", len(samples)) + samples, LIMITS)


def test_a_file_with_too_many_bytes_is_not_looked_into() -> None:
    with pytest.raises(UnusableFile, match="is larger than 1 KiB"):
        audio.decode(bytes(1025), MediaLimits(bytes=1024))
