"""What a file's bytes are, by the kind that a field asks for; the libraries load when they are needed."""

from __future__ import annotations

from typing import Any

from model_types.media.fields import MediaKind
from model_types.media.limits import MediaLimits


def decode(data: bytes, kind: MediaKind, limits: MediaLimits) -> Any:
    """What an engine finds in `InputFile.content`. Raises `UnusableFile`."""
    if kind == "audio":
        from model_types.media import audio

        return audio.decode(data, limits)
    from model_types.media import images

    return images.decode(data, limits, kind)


def check(data: bytes, kind: MediaKind, limits: MediaLimits) -> str:
    """The media type of what `decode` would take, as far as a look tells. Raises `UnusableFile`."""
    if kind == "audio":
        from model_types.media import audio

        return audio.check(data, limits)
    from model_types.media import images

    return images.check(data, limits)
