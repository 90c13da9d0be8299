"""What `augury up` takes from the environment and `.env`; the processes below it read the rest themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


class LaunchSettings(BaseSettings):
    """Settings that decide what is started. An empty one counts as not set."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", env_ignore_empty=True)

    database_url: str | None = Field(None, description="A PostgreSQL to use instead of the embedded one.")
    redis_url: str | None = Field(None, description="A Redis or Valkey to use instead of the embedded one.")
    redis_host: str | None = Field(None, description="The same, by its host's name.")
    secret_key: str | None = Field(None, description="Signs tokens and URLs; else one is made and kept.")
    blob_store: str | None = Field(None, description="Where files are kept; else in the data directory.")
    model_cache_dir: Path | None = Field(None, description="Where models lie; else in the data directory.")
    outbound_allow_cidrs: str | None = Field(None, description="Private networks that webhooks may reach.")
    public_url: str | None = Field(None, description="Base of absolute URLs; else where it listens.")
    hf_token: SecretStr | None = Field(None, description="Token of the Hugging Face Hub.")
    omp_num_threads: int | None = Field(None, description="CPU threads of a lane; else its share of cores.")

    @property
    def brings_own_broker(self) -> bool:
        """Whether a Redis or Valkey is given from outside."""
        return bool(self.redis_url or self.redis_host)


class CatalogSettings(BaseSettings):
    """Which models of the catalog are registered."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", env_ignore_empty=True)

    models: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Models of the catalog that are registered at the start and by `augury models sync`, "
        "separated by commas, with * for any letters; by default the demo models.",
    )
    models_file: Path | None = Field(
        None, description="A catalog of your own; by default models.yaml here or in the data directory."
    )

    model_id: str | None = Field(None, description="One model of the catalog more that is registered so.")
    revision: str | None = Field(
        None, description="Branch, tag or commit of MODEL_ID's weights; its version gets the same name."
    )

    @property
    def chosen(self) -> tuple[str, ...]:
        """The patterns of those that are registered, with MODEL_ID."""
        return (*self.models, self.model_id) if self.model_id else self.models

    @field_validator("models", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        return tuple(name for part in value.split(",") if (name := part.strip()))


class ClientSettings(BaseSettings):
    """Which server the commands talk to when it is not the one of the data directory."""

    model_config = SettingsConfigDict(env_prefix="AUGURY_", extra="ignore", env_ignore_empty=True)

    url: str | None = Field(None, description="AUGURY_URL: base URL of the server.")
    token: str | None = Field(None, description="AUGURY_TOKEN: an API token of that server.")
