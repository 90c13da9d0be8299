"""Which files predictions may take in: the gateway refuses by these settings, and workers fetch by them."""

from __future__ import annotations

from pydantic import Field
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
    max_image_pixels: int = Field(
        _DEFAULTS.pixels, ge=1, le=_MOST_PIXELS, description="The largest image: its width times its height."
    )
    max_audio_seconds: float = Field(_DEFAULTS.seconds, gt=0, description="The longest audio.")
    allow_remote_inputs: bool = Field(
        False, description="Whether workers fetch files from URLs in inputs; else files must be sent along."
    )
    input_allow_cidrs: Networks = Field(
        (), description="Private networks that URLs in inputs may reach, such as 10.0.0.0/8."
    )

    @property
    def media_limits(self) -> MediaLimits:
        """What a file may be, for those who decode it."""
        return MediaLimits(self.max_input_bytes, self.max_image_pixels, self.max_audio_seconds)
