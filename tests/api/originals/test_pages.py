"""The home page, and what monitors look at."""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256

import pytest

from tests.api.asking import add_model
from tests.api.conftest import Served

pytestmark = pytest.mark.anyio


async def test_the_home_page_runs_its_own_script_and_no_other(served: Served) -> None:
    page = await served.http.get("/")
    assert page.headers["Content-Type"].startswith("text/html")
    (script,) = re.findall(r"<script>(.*?)</script>", page.text, re.DOTALL)
    assert "send_text" in script
    assert "poll_task_status" in script
    digest = b64encode(sha256(script.encode()).digest()).decode()
    policy = page.headers["Content-Security-Policy"]
    assert f"script-src 'sha256-{digest}';" in policy
    assert "default-src 'none'" in policy


async def test_monitors_find_life_and_readiness_by_the_names_they_know(served: Served) -> None:
    assert (await served.http.get("/health_check")).json() == {"status": "ok"}
    assert (await served.http.get("/healthz")).status_code == 200
    await add_model(served, await served.admin())
    unready = await served.http.get("/healthz")
    assert (unready.status_code, unready.json()["status"]) == (503, "unavailable")
