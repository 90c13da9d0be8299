"""A real S3 server for tests: moto's, as a process of its own."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from cli.embedded import free_port
from cli.processes import Service
from tests.stack import wait_until

BUCKET = "augury-test"


@contextmanager
def s3_server(directory: Path) -> Iterator[dict[str, str]]:
    """A server with one bucket. What the environment of its clients must hold, as botocore reads it."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = Service("s3", command, os.environ, directory / "s3.log")
    server.start()
    try:
        wait_until(lambda: _answers(port), what="an S3 server that answers")
        url = f"http://127.0.0.1:{port}"
        httpx.put(f"{url}/{BUCKET}", trust_env=False).raise_for_status()
        yield {
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
    finally:
        server.stop()


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
