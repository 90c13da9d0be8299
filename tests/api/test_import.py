"""Nothing happens on import."""

from __future__ import annotations

import subprocess
import sys

import pytest

# Runs in a process of its own: what is imported, opened and read there is the gateway's doing.
PROBE = """
import os, sys

OURS = {
    "API_HOST", "API_PORT", "DATABASE_URL", "DATABASE_FORCE_IPV4", "DATABASE_HOSTADDR", "REDIS_HOST",
    "REDIS_PORT", "REDIS_URL", "SECRET_KEY", "ENABLE_GPU", "MODEL_CACHE_DIR", "WORKER_CONCURRENCY",
    "REGISTRATION", "PUBLIC_URL",
}
sockets, read = [], set()
os.environ.update({name: "x" for name in OURS})

class Recorded(type(os.environ)):
    def __getitem__(self, name):
        read.add(name)
        return super().__getitem__(name)
    def __contains__(self, name):
        read.add(name)
        return super().__contains__(name)

def recorded_environ(old):
    return Recorded(old._data, old.encodekey, old.decodekey, old.encodevalue, old.decodevalue)

os.environ = recorded_environ(os.environ)
os.environ.get("PROBE")
assert "PROBE" in read, "the probe itself does not see"
opened = []
def audit(event, arguments):
    if event.startswith("socket."):
        sockets.append(event)
    if event == "open" and str(arguments[0]).endswith(".env"):
        opened.append(arguments[0])
sys.addaudithook(audit)

import api.app, api.__main__

heavy = {name.partition(".")[0] for name in sys.modules} & {"torch", "celery", "transformers", "kombu", "cli"}
print(sorted(heavy), sockets, sorted(read & OURS), opened)
"""


@pytest.mark.slow
def test_importing_the_gateway_loads_nothing_heavy_opens_nothing_and_reads_no_settings() -> None:
    probe = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, timeout=60)
    assert probe.returncode == 0, probe.stderr
    assert probe.stdout.strip() == "[] [] [] []"
