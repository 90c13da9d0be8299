"""What the author of a version may tune, whatever its type; engines may know more options of their own."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

DType = Literal["auto", "float32", "float16", "bfloat16"]
Share = Annotated[float, Field(ge=0, le=1)]


class Tuning(BaseModel):
    """How a version computes, and what its batches may hold. What is not given is the type's to choose."""

    model_config = ConfigDict(extra="forbid")

    dtype: DType | None = Field(
        None, description="Of the weights in memory; float32 on a CPU, else the weights' own, by default."
    )
    max_batch: PositiveInt | None = Field(None, description="Predictions that may be in a session at once.")
    budget: PositiveInt | None = Field(
        None, description="What the costs of a session's predictions may sum up to, in the type's unit."
    )
    pass_rows: PositiveInt | None = Field(None, description="Rows that may share a pass through the model.")
    pass_budget: PositiveInt | None = Field(
        None, description="What a pass may be padded to: rows times the largest size."
    )
    max_wait_ms: NonNegativeFloat | None = Field(
        None, description="How long a batch that is not full waits for more, from its first arrival."
    )
    execution_timeout_seconds: PositiveFloat | None = Field(
        None, description="How long one prediction may run."
    )
    memory_mb: PositiveInt | None = Field(
        None, description="Memory that is to be free before loading; others are unloaded for it."
    )
    threads: PositiveInt | None = Field(None, description="CPU threads, if other than OMP_NUM_THREADS.")


class Residence(BaseModel):
    """How long a version stays in memory, and what it does first."""

    pin: bool = Field(False, description="Whether it stays in memory whoever else needs room.")
    ttl_seconds: PositiveFloat | None = Field(
        None, description="After so long without use it leaves the memory."
    )
    warm_up: list[dict[str, Any]] = Field(
        default_factory=list, description="Inputs to run right after loading.", max_length=32
    )

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.pin and self.ttl_seconds is not None:
            raise ValueError("what is pinned has no ttl_seconds: it stays")
        return self


class VersionOptions(Tuning, Residence):
    """All options of a version that are the same for every type. Others are the engine's business."""

    model_config = ConfigDict(extra="allow")

    moderation: dict[str, Share] = Field(
        default_factory=dict,
        description="What makes a classifier a moderation model: from which score on each label is flagged.",
    )
