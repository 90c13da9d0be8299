"""The gateway's settings, and the process that reads them."""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import limits
import pytest
from pydantic import ValidationError

from api.settings import GatewaySettings
from tests.api.conftest import settings

GOOD_KEY = secrets.token_urlsafe(48)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "short",
        "x" * 31,
        "x" * 64,
        "abcdefgh" * 8,
        "your-secret-key-here-change-in-production",
        "changeme-changeme-changeme-changeme-0123",
        "0123456789-this-is-a-development-key-abc",
    ],
)
def test_a_secret_key_that_is_none_is_refused_in_one_sentence(key: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        settings(secret_key=key)
    (error,) = refusal.value.errors()
    assert error["loc"] == ("secret_key",)
    assert "token_urlsafe" in error["msg"]


@pytest.mark.slow
def test_a_random_secret_key_will_do() -> None:
    for _ in range(100):
        settings(secret_key=secrets.token_urlsafe(32))
        settings(secret_key=secrets.token_hex(32))


def test_the_secret_key_is_not_shown() -> None:
    assert GOOD_KEY not in repr(settings(secret_key=GOOD_KEY))


@pytest.mark.parametrize("name", ["rate_limit_create", "rate_limit_read", "rate_limit_login"])
def test_no_kind_of_route_is_unlimited_by_default_or_by_setting(name: str) -> None:
    assert limits.parse(getattr(settings(), name)).amount > 0
    for value in ("", "off", "none", "0/minute", "-1/minute", "600", "many/minute"):
        with pytest.raises(ValidationError):
            settings(**{name: value})


@pytest.mark.parametrize(
    ("host", "registration", "policy"),
    [
        ("127.0.0.1", None, "open"),
        ("::1", None, "open"),
        ("localhost", None, "open"),
        ("0.0.0.0", None, "closed"),
        ("gateway.example", None, "closed"),
        ("0.0.0.0", "open", "open"),
        ("127.0.0.1", "invite", "invite"),
        ("127.0.0.1", "", "open"),
    ],
)
def test_registration_is_open_on_loopback_and_closed_elsewhere_unless_said(
    host: str, registration: str | None, policy: str
) -> None:
    assert settings(api_host=host, registration=registration).registration_policy == policy


def test_the_originals_names_are_read_from_the_environment_and_from_dotenv(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text(f"SECRET_KEY={GOOD_KEY}\nAPI_PORT=9000\nAPI_HOST=192.0.2.1\nOTHER=1\n")
    monkeypatch.setenv("API_HOST", "192.0.2.2")
    monkeypatch.delenv("API_PORT", raising=False)
    monkeypatch.delenv("SECRET_KEY", raising=False)
    read = GatewaySettings()
    assert (read.api_host, read.api_port) == ("192.0.2.2", 9000)
    assert read.secret_key.get_secret_value() == GOOD_KEY


def environment(**changes: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "PYTHONPATH") if name in os.environ}
    return {**kept, "PYTHONPATH": str(Path(__file__).parents[2]), **changes}


@pytest.mark.slow
def test_bad_settings_end_the_process_with_one_sentence_each(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "api"],
        cwd=tmp_path,
        env=environment(SECRET_KEY="short", DATABASE_URL="postgresql://x@127.0.0.1/x", API_PORT="http"),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 2
    lines = ended.stderr.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("API_PORT should be a valid integer")
    assert lines[1].startswith("SECRET_KEY must have at least 32 bytes; make one with: python -c")


@pytest.mark.slow
def test_the_process_serves_says_no_secrets_and_ends_when_asked(
    tmp_path: Path, database_url: str, redis_url: str
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "api"],
        cwd=tmp_path,
        env=environment(
            SECRET_KEY=GOOD_KEY,
            DATABASE_URL=database_url,
            REDIS_URL=redis_url,
            API_HOST="127.0.0.1",
            API_PORT="0",
        ),
        stdout=subprocess.DEVNULL,
        stderr=(log := (tmp_path / "log").open("w+")),
    )
    try:
        url = _address_in(tmp_path / "log")
        response = httpx.get(
            f"{url}/health", headers={"X-Request-Id": "mine", "X-Forwarded-For": "192.0.2.9"}
        )
        assert response.json() == {"status": "ok"}
        assert "server" not in response.headers
        person = {"username": "ann", "email": "ann@intranet", "password": "password123"}
        assert httpx.post(f"{url}/v1/auth/register", json=person).status_code == 201
        token = httpx.post(f"{url}/v1/auth/token", data=person).json()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        assert httpx.get(f"{url}/v1/auth/me", headers=headers).json()["username"] == "ann"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=15) in (0, -signal.SIGTERM)
    finally:
        process.kill()
        process.wait()
        log.close()
    written = (tmp_path / "log").read_text()
    assert re.search(r"^\S+ INFO mine GET /health 200 [0-9.]+ ms -$", written, re.MULTILINE)
    for secret in (GOOD_KEY, "password123", token, "Traceback", "Warning"):
        assert secret not in written


def _address_in(log: Path) -> str:
    deadline = time.monotonic() + 30
    while True:
        if found := re.search(r"http://127\.0\.0\.1:\d+", log.read_text()):
            return found[0]
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
