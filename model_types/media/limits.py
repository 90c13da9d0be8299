"""How large a file that a prediction takes in may be."""

from __future__ import annotations

from dataclasses import dataclass, replace

from model_types.media.fields import MediaKind

MEBIBYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class MediaLimits:
    """Limits of one file: its bytes as they came, an image's pixels (width times height), audio's seconds.

    Pixels and seconds bound what a small file may grow to once it is decoded. Audio, and images that are
    fetched from elsewhere, may have limits of their own in bytes.
    """

    bytes: int = 25 * MEBIBYTE
    pixels: int = 50_000_000
    seconds: float = 7200.0
    audio_bytes: int | None = None
    remote_image_bytes: int | None = None

    def of(self, kind: MediaKind) -> MediaLimits:
        """The limits of a file of this kind."""
        return self if kind != "audio" or self.audio_bytes is None else replace(self, bytes=self.audio_bytes)

    def remote(self, kind: MediaKind) -> MediaLimits:
        """The limits of one that is to be fetched."""
        if kind == "audio" or self.remote_image_bytes is None:
            return self.of(kind)
        return replace(self, bytes=min(self.bytes, self.remote_image_bytes))

    @property
    def most_bytes(self) -> int:
        """What the largest file of any kind has."""
        return max(self.bytes, self.audio_bytes or 0)


class UnusableFile(ValueError):
    """A file is not what an input asks for. The message ends a sentence that begins with the field's name."""


def check_size(byte_count: int, limits: MediaLimits) -> None:
    """Raises `UnusableFile` where a file has more bytes than it may."""
    if byte_count > limits.bytes:
        raise UnusableFile(f"is larger than {readable_bytes(limits.bytes)}, which is the most")


def readable_bytes(count: int) -> str:
    """A size as people read it: 25 MiB."""
    for unit, size in (("MiB", MEBIBYTE), ("KiB", 1024)):
        if count >= size:
            return f"{count / size:.4g} {unit}"
    return f"{count} bytes"
