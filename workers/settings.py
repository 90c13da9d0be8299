"""How workers and the steward behave."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AliasChoices, Field, SecretStr, field_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from db.settings import SecretKey
from workers.addresses import Networks
from workers.devices import DEVICE
from workers.input_settings import InputSettings
from workers.tuning import TuningSettings


class WorkerSettings(InputSettings, TuningSettings):
    """Settings of the worker and the steward, read from the environment and `.env`."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore")

    worker_concurrency: int = Field(
        2,
        ge=1,
        validation_alias=AliasChoices("worker_concurrency", "max_concurrent"),
        description="Lanes (processes) of one worker: so many sessions run at once.",
    )
    enable_gpu: bool = Field(True, description="Whether lanes may use GPUs; else all compute on the CPU.")
    model_device: str = Field(
        "auto",
        pattern=DEVICE,
        description="Where lanes compute: cpu, mps, cuda, cuda:N, or auto, which is the best there is; "
        "lanes share out all CUDA devices unless one is named.",
    )
    model_dtype: Literal["auto", "float32", "float16", "bfloat16"] | None = Field(
        None,
        description="The dtype of versions that name none; by default float32 on a CPU, "
        "else the weights' own.",
    )
    model_cache_dir: str = Field("/tmp/model_cache", description="Directory for downloaded models.")  # noqa: S108
    auto_download_models: bool = Field(
        True, description="Whether lanes may download weights; else they must have been pulled before."
    )
    hf_token: SecretStr | None = Field(
        None, description="Token of the Hugging Face Hub, for models that ask for one."
    )
    trusted_models: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Weights whose pickles and code may run: prefixes of folders and repositories, or "
        "sha256: digests, with commas between them.",
    )
    worker_memory_mb: int = Field(
        4096, ge=1, description="Memory for loaded models in one lane; the least recently used one goes."
    )
    lease_seconds: float = Field(
        15.0, gt=0, description="A lane that has been silent for so long has lost its predictions."
    )
    affinity_seconds: float = Field(
        2.0, ge=0, description="How long a lane may prefer loaded versions while others wait."
    )
    batch_pass_seconds: float = Field(
        0.05,
        gt=0,
        description="How long a pass of batch work may take, unless one row takes longer: what comes "
        "meanwhile has to wait for its end.",
    )
    batch_hold_off_seconds: float = Field(
        10.0,
        ge=0,
        description="After other work a lane loads no model for the sake of batch work for so long.",
    )
    task_events: bool = Field(False, description="Send Celery events for each prediction, for Flower.")
    outbound_allow_cidrs: Networks = Field(
        (), description="Private networks that webhooks may reach, such as 10.0.0.0/8,127.0.0.0/8."
    )
    retention_days: int = Field(30, ge=1, description="Finished predictions are kept for so long.")
    data_retention_hours: float | None = Field(
        None,
        gt=0,
        description="Inputs, outputs, logs and files of finished predictions are kept for so long; "
        "by default as long as the predictions.",
    )
    idempotency_hours: int = Field(24, ge=1, description="Idempotency keys are kept for so long.")
    public_url: str = Field("http://localhost:8000", description="Base of the URLs in webhooks.")

    @property
    def device(self) -> str:
        """What lanes want to compute on."""
        return self.model_device if self.enable_gpu else "cpu"

    @field_validator("trusted_models", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("data_retention_hours", mode="before")
    @classmethod
    def _empty_is_none(cls, value: Any) -> Any:
        return None if value == "" else value

    @field_validator("public_url")
    @classmethod
    def _without_slash(cls, value: str) -> str:
        return value.rstrip("/")


class StewardSettings(WorkerSettings):
    """Settings of the steward, which signs the URLs of files in webhooks."""

    secret_key: SecretKey = Field(description="Signs the URLs of files, as the gateway does.")
