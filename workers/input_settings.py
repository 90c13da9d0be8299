"""Which files predictions may take in: the gateway refuses by these settings, and workers fetch by them."""

from __future__ import annotations

from typing import Any

from pydantic import AliasChoices, Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from model_types.media.limits import MediaLimits
from workers.addresses import Networks

_DEFAULTS = MediaLimits()
# Pillow refuses images of twice its own limit of 89 million pixels, whatever ours is.
_MOST_PIXELS = 150_000_000


class InputSettings(BaseSettings):
    """Settings of files in inputs, read from the environment and `.env`."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore")

    max_input_bytes: int = Field(_DEFAULTS.bytes, ge=1024, description="The largest file in an input.")
    max_audio_bytes: int | None = Field(
        None, ge=1024, description="The largest audio in an input; by default as any file."
    )
    max_remote_image_bytes: int | None = Field(
        None, ge=1024, description="The largest image that is fetched from a URL; by default as any file."
    )
    max_image_pixels: int = Field(
        _DEFAULTS.pixels, ge=1, le=_MOST_PIXELS, description="The largest image: its width times its height."
    )
    max_audio_seconds: float = Field(_DEFAULTS.seconds, gt=0, description="The longest audio.")
    allow_remote_inputs: bool = Field(
        False,
        validation_alias=AliasChoices("allow_remote_inputs", "allow_remote_images"),
        description="Whether workers fetch files from URLs in inputs; else files must be sent along.",
    )
    input_fetch_seconds: float = Field(
        20.0,
        gt=0,
        validation_alias=AliasChoices("input_fetch_seconds", "remote_image_timeout"),
        description="How long fetching a file may take, from its name's resolution to the last byte; the "
        "rest of its batch waits as long.",
    )
    input_allow_cidrs: Networks = Field(
        (), description="Private networks that URLs in inputs may reach, such as 10.0.0.0/8."
    )

    @property
    def media_limits(self) -> MediaLimits:
        """What a file may be, for those who decode it."""
        return MediaLimits(
            self.max_input_bytes,
            self.max_image_pixels,
            self.max_audio_seconds,
            self.max_audio_bytes,
            self.max_remote_image_bytes,
        )

    @field_validator("max_audio_bytes", "max_remote_image_bytes", mode="before")
    @classmethod
    def _unset_if_empty(cls, value: Any) -> Any:
        return None if value == "" else value
