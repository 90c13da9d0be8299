"""The gateway's settings."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Literal

import limits
from pydantic import AliasChoices, Field, field_validator
from pydantic_settings import SettingsConfigDict

from db.settings import SecretKey
from model_types.media.limits import MEBIBYTE
from workers.addresses import Networks
from workers.input_settings import InputSettings


class GatewaySettings(InputSettings):
    """Settings of the gateway, read from the environment and `.env`."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore")

    api_host: str = Field("0.0.0.0", description="Address to listen on.")  # noqa: S104 - the original's default
    api_port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    public_url: str | None = Field(None, description="Base of absolute URLs; else the request's own.")
    forwarded_allow_ips: str = Field(
        "", description="Proxies whose X-Forwarded-* headers count, separated by commas; * for all."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="From which level on the gateway logs: DEBUG, INFO, WARNING or ERROR."
    )

    secret_key: SecretKey = Field(
        description="Signs access tokens, and the URLs of files; at least 32 random bytes."
    )
    access_token_seconds: int = Field(12 * 3600, ge=60, description="How long a login lasts.")
    token_cache_seconds: float = Field(
        5, ge=0, le=60, description="How long a token that was revoked at another gateway may still serve."
    )
    registration: Literal["open", "invite", "closed"] | None = Field(
        None, description="Who may register: open, invite, closed; by default open on loopback, else closed."
    )
    model_creation: Literal["admins", "users"] = Field(
        "admins", description="Who may register and deploy models: admins or users."
    )

    default_chat_model: str | None = Field(
        None,
        validation_alias=AliasChoices("default_chat_model", "model_id"),
        description="Model of chats and texts that name none; else the only one that fits.",
    )
    revision: str | None = Field(
        None, description="Version of DEFAULT_CHAT_MODEL, by its label or its id; by default the latest."
    )
    allow_anonymous: bool = Field(
        False,
        description="Let everybody ask for predictions without a token, by OpenAI's API and the originals'.",
    )
    rate_limit_anonymous: str = Field(
        "60/minute", description="Per address: what asks for predictions without a token."
    )
    rate_limit_create: str = Field("6000/minute", description="Per caller: what changes something.")
    rate_limit_read: str = Field("12000/minute", description="Per caller: what reads.")
    rate_limit_login: str = Field("20/minute", description="Per address, and per account.")

    max_body_bytes: int | None = Field(
        None, ge=1024, description="The largest request body; by default the largest file fits in as base64."
    )
    file_limit_bytes: int = Field(
        100 * MEBIBYTE, ge=1024, description="The largest file that POST /v1/files takes."
    )
    file_hours: float = Field(24, gt=0, le=10 * 365 * 24, description="How long an uploaded file is kept.")
    batch_file_bytes: int = Field(200 * MEBIBYTE, ge=1024, description="The largest file that a batch reads.")
    batch_file_hours: float = Field(
        30 * 24, gt=0, le=10 * 365 * 24, description="How long the files of batches are kept."
    )
    batch_max_lines: int = Field(50_000, ge=1, description="Requests in a batch, at most.")
    batch_queue_rows: int = Field(
        1000, ge=1, description="How many predictions of a batch are in the queue at a time."
    )
    batches_per_user: int = Field(100, ge=1, description="Batches of a user that have not ended, at most.")
    output_files: Literal["url", "data"] = Field(
        "url", description="How outputs show their files: by URLs, or in data: URIs where they are small."
    )
    max_text_chars: int | None = Field(
        None, ge=1, description="Characters of the longest text in an input; by default as its schema says."
    )
    max_batch_size: int | None = Field(
        None,
        ge=1,
        description="Texts that one request may have embedded, or documents that it may have ranked; by "
        "default as its schema says.",
    )
    inline_input_bytes: int = Field(
        64 * 1024, ge=0, description="Larger files in the JSON of inputs move to the store of files."
    )
    backlog_per_pool: int = Field(
        100_000,
        ge=1,
        validation_alias=AliasChoices("backlog_per_pool", "max_queue_size"),
        description="Waiting predictions in a pool, at most; others are refused with 429.",
    )
    backlog_per_user: int = Field(10_000, ge=1, description="Waiting predictions of a user, at most.")
    backlog_anonymous: int = Field(
        1000, ge=1, description="Waiting predictions of all who have no token together, at most."
    )
    intake_timeout_seconds: float = Field(5, gt=0, description="How long a submission may take to commit.")
    prediction_deadline_seconds: float | None = Field(
        None, gt=0, description="How long a prediction may wait and run, from its acceptance."
    )
    wait_seconds_max: float = Field(
        55, gt=0, description="The longest hold that `Prefer: wait` gets; clients give up after 60 seconds."
    )
    stream_keep_alive_seconds: float = Field(
        10,
        gt=0,
        le=25,
        description="After so long a silence a stream has a comment; clients give up after 30 seconds.",
    )
    embedding_cache_size: int = Field(
        0,
        ge=0,
        description="How many texts' vectors each gateway remembers for /v1/embeddings. What is remembered "
        "makes no prediction, so by default nothing is.",
    )
    enable_metrics: bool = Field(True, description="Whether there is /metrics at all; else 404.")
    metrics_public: bool = Field(
        False,
        description="Let everybody read /metrics; else administrators, whose token Prometheus can send.",
    )
    lease_seconds: float = Field(15, gt=0, description="A lane not heard of for this long counts as dead.")

    outbound_allow_cidrs: Networks = Field(
        (), description="Private networks that webhooks may reach, such as 10.0.0.0/8,127.0.0.0/8."
    )
    augury_failpoint: Literal["after_commit"] | None = Field(
        None, description="For tests: where the gateway is to die."
    )

    @field_validator("rate_limit_anonymous", "rate_limit_create", "rate_limit_read", "rate_limit_login")
    @classmethod
    def _is_a_limit(cls, value: str) -> str:
        try:
            limit = limits.parse(value)
        except ValueError:
            raise ValueError("must be a limit such as 600/minute") from None
        if limit.amount < 1:
            raise ValueError("must let at least one request through")
        return value

    @field_validator(
        "public_url",
        "registration",
        "default_chat_model",
        "prediction_deadline_seconds",
        "max_body_bytes",
        "max_text_chars",
        "max_batch_size",
        "revision",
        mode="before",
    )
    @classmethod
    def _empty_is_none(cls, value: str | None) -> str | None:
        return None if value == "" else value

    @field_validator("public_url")
    @classmethod
    def _is_a_base(cls, value: str | None) -> str | None:
        if value is None:
            return None
        if not value.startswith(("http://", "https://")):
            raise ValueError("must begin with http:// or https://")
        return value.rstrip("/")

    @property
    def body_limit_bytes(self) -> int:
        """The largest request body, after the rule for what was left unsaid."""
        return self.max_body_bytes or self.media_limits.most_bytes * 4 // 3 + MEBIBYTE

    @property
    def upload_limit_bytes(self) -> int:
        """The largest body of an upload: its file, and the form around it."""
        return max(self.file_limit_bytes, self.batch_file_bytes) + MEBIBYTE

    @property
    def default_chat_version(self) -> str | None:
        """What requests of chats and texts mean that name no model, if the operator has said it."""
        if self.default_chat_model is None or self.revision is None:
            return self.default_chat_model
        return f"{self.default_chat_model}:{self.revision}"

    @property
    def registration_policy(self) -> Literal["open", "invite", "closed"]:
        """Who may register, after the rule for what was left unsaid."""
        if self.registration is not None:
            return self.registration
        return "open" if self.is_loopback else "closed"

    @property
    def is_loopback(self) -> bool:
        """Whether nobody on another machine reaches the gateway."""
        try:
            return ip_address(self.api_host).is_loopback
        except ValueError:
            return self.api_host == "localhost"
