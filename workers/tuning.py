"""What an operator tunes for all versions at once: batches, warm-ups, and how long texts may be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import AliasChoices, BeforeValidator, Field, NonNegativeFloat, PositiveInt
from pydantic_settings import BaseSettings, SettingsConfigDict

_EmptyIsNone = BeforeValidator(lambda value: None if value == "" else value)
MaybeCount = Annotated[PositiveInt | None, _EmptyIsNone]
MaybeMilliseconds = Annotated[NonNegativeFloat | None, _EmptyIsNone]

CHAT_TYPES = ("text-generation", "image-to-text")


@dataclass(frozen=True, slots=True)
class Batching:
    """How many predictions a batch may have, None being as many as the version says, and its default wait."""

    max_size: int | None = None
    window_ms: float = 0.0


AS_IT_IS = Batching()
ALONE = Batching(max_size=1)


class TuningSettings(BaseSettings):
    """Settings of batches, warm-ups and texts, read from the environment and `.env`."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore")

    enable_batching: bool = Field(
        True, description="Whether predictions may share a batch; those that chat by ENABLE_CHAT_BATCHING."
    )
    batch_window_ms: float = Field(
        0.0,
        ge=0,
        description="How long a batch that is not full waits for more, where the version has no max_wait_ms; "
        "0 takes what there is.",
    )
    batch_timeout: float = Field(0.0, ge=0, description="The same in seconds, where BATCH_WINDOW_MS is 0.")
    batch_window_max_size: MaybeCount = Field(
        None,
        validation_alias=AliasChoices("batch_window_max_size", "batch_size"),
        description="Predictions that may share a batch, where the version's max_batch is not less.",
    )
    enable_chat_batching: bool = Field(
        True, description="Whether text-generation and image-to-text share batches; else one at a time."
    )
    chat_batch_window_ms: MaybeMilliseconds = Field(
        None, description="BATCH_WINDOW_MS of these two types; by default the same."
    )
    chat_batch_max_size: MaybeCount = Field(
        None, description="BATCH_WINDOW_MAX_SIZE of these two types; by default the same."
    )
    chat_batch_allow_vision: bool = Field(
        True, description="Whether image-to-text shares batches; else one at a time."
    )

    enable_warmup: bool = Field(
        True, description="Whether a version runs once right after loading, before the first prediction."
    )
    warmup_steps: int = Field(1, ge=1, description="How often it runs then.")
    warmup_batch_size: int = Field(
        1,
        ge=1,
        description="Copies of an input that share a batch then: of those in the version's warm_up, and for "
        "types that only read text of one that they have themselves.",
    )

    max_new_tokens: MaybeCount = Field(
        None, description="Tokens that a text gets at most where nobody says how many; by default 128."
    )
    chat_max_new_tokens: MaybeCount = Field(
        None,
        description="Tokens that a text gets at most, whatever the request says; it ends there, as too long.",
    )
    chat_max_prompt_tokens: MaybeCount = Field(
        None, description="Tokens of the longest prompt that text-generation takes; others are invalid."
    )

    @property
    def warm_up_runs(self) -> int:
        """How often a version runs right after loading."""
        return self.warmup_steps if self.enable_warmup else 0

    def batching(self, model_type: str) -> Batching:
        """How predictions of a type share batches."""
        window_ms = self.batch_window_ms or self.batch_timeout * 1000
        if model_type not in CHAT_TYPES:
            return Batching(self.batch_window_max_size, window_ms) if self.enable_batching else ALONE
        if not self.enable_chat_batching or (
            model_type == "image-to-text" and not self.chat_batch_allow_vision
        ):
            return ALONE
        chat_window_ms = window_ms if self.chat_batch_window_ms is None else self.chat_batch_window_ms
        return Batching(self.chat_batch_max_size or self.batch_window_max_size, chat_window_ms)

    def text_limits(self, model_type: str) -> dict[str, int]:
        """Options of an engine that writes texts, which the version's own do not change."""
        if model_type not in CHAT_TYPES:
            return {}
        limits = {
            "default_new_tokens": self.max_new_tokens,
            "max_new_tokens": self.chat_max_new_tokens,
            "max_prompt_tokens": self.chat_max_prompt_tokens,
        }
        return {name: count for name, count in limits.items() if count is not None}
