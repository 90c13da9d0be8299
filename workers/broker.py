"""Where Redis (or Valkey) is: broker of the bells, shared counters, and news of finished predictions."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import redis
from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class BrokerSettings(BaseSettings):
    """Settings of the Redis connection, read from the environment and `.env`."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore")

    redis_url: str = Field("", description="Redis connection string; by default made of the two below.")
    redis_host: str = Field("localhost", description="Redis host, where REDIS_URL is not given.")
    redis_port: int = Field(6379, ge=1, le=65535, description="Redis port, where REDIS_URL is not given.")

    @model_validator(mode="after")
    def _compose(self) -> "BrokerSettings":
        if not self.redis_url:
            self.redis_url = f"redis://{self.redis_host}:{self.redis_port}/0"
        if not self.redis_url.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("REDIS_URL must be a Redis URL: redis://host:6379/0")
        return self

    def url(self) -> str:
        """The connection string."""
        return self.redis_url

    def celery_url(self) -> str:
        """The same as Celery has it: a socket of this machine is another transport there."""
        parts = urlsplit(self.redis_url)
        if parts.scheme != "unix":
            return self.redis_url
        credentials = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
        database = parse_qs(parts.query).get("db", ["0"])[0]
        return f"redis+socket://{credentials}{parts.path}?virtual_host={database}"


class KeptConnection(redis.Redis):
    """A client that keeps its connection, which threads use in turn; it connects at the first command.

    redis-py takes one from a pool for each command, and looks whether it still stands: a third of what a
    command costs here. One that does not stand any more is found out by using it, and replaced.
    """

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send a command, and return its answer. Raises `redis.RedisError`."""
        with self.single_connection_lock:
            if self.connection is None:
                self.connection = self.connection_pool.get_connection()
            # redis-py has no types for this method.
            return super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
