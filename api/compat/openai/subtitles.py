"""Transcripts as subtitles: SubRip (.srt) and WebVTT (https://www.w3.org/TR/webvtt1/)."""

from __future__ import annotations

from collections.abc import Sequence

from model_types.speech_to_text.schema import Segment


def srt(segments: Sequence[Segment]) -> str:
    """Numbered cues, with a comma before the milliseconds."""
    cues = [
        f"{number}\n{_time(segment.start, ',')} --> {_time(segment.end, ',')}\n{_line(segment.text)}\n\n"
        for number, segment in enumerate(segments, start=1)
    ]
    return "".join(cues)


def vtt(segments: Sequence[Segment]) -> str:
    """Cues under WebVTT's own first line, with `&` and `<` escaped."""
    cues = [
        f"{_time(segment.start, '.')} --> {_time(segment.end, '.')}\n{_escaped(_line(segment.text))}\n\n"
        for segment in segments
    ]
    return "".join(["WEBVTT\n\n", *cues])


def _time(seconds: float, point: str) -> str:
    """Hours, minutes, seconds and milliseconds: 00:01:02.345."""
    whole, milliseconds = divmod(round(seconds * 1000), 1000)
    minutes, whole = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{whole:02}{point}{milliseconds:03}"


def _line(text: str) -> str:
    # An arrow would be taken for a cue's times, and an empty line for its end.
    return " ".join(text.split()).replace("-->", "->")


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")
