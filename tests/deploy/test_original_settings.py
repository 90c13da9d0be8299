"""The originals' settings by their own names: each is read, and stands in the reference."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

import pytest
from pydantic_settings import BaseSettings

from api.settings import GatewaySettings
from cli.settings import CatalogSettings
from docs.configuration import TABLE
from workers.settings import WorkerSettings
from workers.tuning import Batching

Read = Callable[[Any], Any]

# The name, what is written, who reads it, and what comes of it. What that does is tested where it is done.
ORIGINALS: list[tuple[str, str, type[BaseSettings], Read, Any]] = [
    # 000
    ("BATCH_SIZE", "5", WorkerSettings, lambda s: s.batching("image-to-text").max_size, 5),
    ("BATCH_TIMEOUT", "1.5", WorkerSettings, lambda s: s.batching("image-to-text").window_ms, 1500),
    ("MODEL_ID", "a/b", GatewaySettings, lambda s: s.default_chat_version, "a/b"),
    ("MODEL_ID", "a/b", CatalogSettings, lambda s: s.chosen, ("a/b",)),
    ("REVISION", "2024-04-02", CatalogSettings, lambda s: s.revision, "2024-04-02"),
    # 001
    ("MODELS", "a/b,c/d", CatalogSettings, lambda s: s.chosen, ("a/b", "c/d")),
    ("MODEL_DEVICE", "cuda:1", WorkerSettings, lambda s: s.device, "cuda:1"),
    ("AUTO_DOWNLOAD_MODELS", "0", WorkerSettings, lambda s: s.auto_download_models, False),
    ("ENABLE_BATCHING", "0", WorkerSettings, lambda s: s.batching("embeddings").max_size, 1),
    ("BATCH_WINDOW_MS", "6", WorkerSettings, lambda s: s.batching("embeddings").window_ms, 6),
    ("BATCH_WINDOW_MAX_SIZE", "16", WorkerSettings, lambda s: s.batching("embeddings").max_size, 16),
    ("ENABLE_CHAT_BATCHING", "0", WorkerSettings, lambda s: s.batching("text-generation").max_size, 1),
    ("CHAT_BATCH_WINDOW_MS", "10", WorkerSettings, lambda s: s.batching("text-generation").window_ms, 10),
    ("CHAT_BATCH_MAX_SIZE", "8", WorkerSettings, lambda s: s.batching("text-generation").max_size, 8),
    ("CHAT_BATCH_ALLOW_VISION", "0", WorkerSettings, lambda s: s.batching("image-to-text").max_size, 1),
    (
        "CHAT_MAX_PROMPT_TOKENS",
        "4096",
        WorkerSettings,
        lambda s: s.text_limits("text-generation"),
        {"max_prompt_tokens": 4096},
    ),
    (
        "CHAT_MAX_NEW_TOKENS",
        "2048",
        WorkerSettings,
        lambda s: s.text_limits("text-generation"),
        {"max_new_tokens": 2048},
    ),
    (
        "MAX_NEW_TOKENS",
        "512",
        WorkerSettings,
        lambda s: s.text_limits("text-generation"),
        {"default_new_tokens": 512},
    ),
    ("MAX_CONCURRENT", "3", WorkerSettings, lambda s: s.worker_concurrency, 3),
    ("ENABLE_WARMUP", "0", WorkerSettings, lambda s: s.warm_up_runs, 0),
    ("WARMUP_STEPS", "3", WorkerSettings, lambda s: s.warm_up_runs, 3),
    ("WARMUP_BATCH_SIZE", "4", WorkerSettings, lambda s: s.warmup_batch_size, 4),
    ("MAX_QUEUE_SIZE", "128", GatewaySettings, lambda s: s.backlog_per_pool, 128),
    ("MAX_BATCH_SIZE", "32", GatewaySettings, lambda s: s.max_batch_size, 32),
    ("MAX_TEXT_CHARS", "20000", GatewaySettings, lambda s: s.max_text_chars, 20_000),
    ("MAX_AUDIO_BYTES", "4096", GatewaySettings, lambda s: s.media_limits.of("audio").bytes, 4096),
    ("MAX_REMOTE_IMAGE_BYTES", "4096", WorkerSettings, lambda s: s.media_limits.remote("image").bytes, 4096),
    ("REMOTE_IMAGE_TIMEOUT", "5", WorkerSettings, lambda s: s.input_fetch_seconds, 5),
    ("ALLOW_REMOTE_IMAGES", "1", WorkerSettings, lambda s: s.allow_remote_inputs, True),
    ("ALLOW_REMOTE_IMAGES", "1", GatewaySettings, lambda s: s.allow_remote_inputs, True),
    ("ENABLE_METRICS", "0", GatewaySettings, lambda s: s.enable_metrics, False),
    ("EMBEDDING_CACHE_SIZE", "256", GatewaySettings, lambda s: s.embedding_cache_size, 256),
    # 004
    ("API_HOST", "192.0.2.1", GatewaySettings, lambda s: s.api_host, "192.0.2.1"),
    ("API_PORT", "9000", GatewaySettings, lambda s: s.api_port, 9000),
    ("ENABLE_GPU", "false", WorkerSettings, lambda s: s.device, "cpu"),
    ("MODEL_CACHE_DIR", "/cache", WorkerSettings, lambda s: s.model_cache_dir, "/cache"),
    ("WORKER_CONCURRENCY", "4", WorkerSettings, lambda s: s.worker_concurrency, 4),
]


@pytest.mark.parametrize(
    ("name", "value", "settings", "read", "expected"),
    ORIGINALS,
    ids=lambda part: getattr(part, "__name__", None),
)
def test_an_originals_setting_is_read_by_its_name(
    name: str,
    value: str,
    settings: type[BaseSettings],
    read: Read,
    expected: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SECRET_KEY", secrets.token_urlsafe(48))
    monkeypatch.delenv(name, raising=False)
    assert read(settings(_env_file=None)) != expected
    monkeypatch.setenv(name, value)
    assert read(settings(_env_file=None)) == expected


@pytest.mark.parametrize("name", sorted({name for name, *_ in ORIGINALS}))
def test_the_reference_has_it(name: str) -> None:
    assert f"`{name}`" in TABLE.read_text()


def test_our_own_name_goes_before_an_originals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_CONCURRENT", "3")
    monkeypatch.setenv("WORKER_CONCURRENCY", "5")
    assert WorkerSettings(_env_file=None).worker_concurrency == 5


def test_chats_share_batches_as_others_do_unless_they_are_told_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BATCH_WINDOW_MS", "4")
    monkeypatch.setenv("BATCH_WINDOW_MAX_SIZE", "16")
    monkeypatch.setenv("CHAT_BATCH_WINDOW_MS", "0")
    settings = WorkerSettings(_env_file=None)
    assert settings.batching("embeddings") == Batching(16, 4)
    assert settings.batching("text-generation") == Batching(16, 0)


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("BATCH_SIZE", lambda s: s.batching("embeddings").max_size),
        ("CHAT_BATCH_MAX_SIZE", lambda s: s.batching("text-generation").max_size),
        ("CHAT_BATCH_WINDOW_MS", lambda s: s.chat_batch_window_ms),
        ("MAX_AUDIO_BYTES", lambda s: s.max_audio_bytes),
        ("MAX_REMOTE_IMAGE_BYTES", lambda s: s.max_remote_image_bytes),
    ],
)
def test_an_empty_setting_is_none(name: str, read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "")
    assert read(WorkerSettings(_env_file=None)) is None
