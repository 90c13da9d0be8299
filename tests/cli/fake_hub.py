"""A Hugging Face Hub of one repository, on loopback: the real one lies outside the machine."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class FakeHub(ThreadingHTTPServer):
    """Serves files of `repository` at one commit, whichever revision is asked for."""

    def __init__(self, repository: str, files: Mapping[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repository = repository
        self.files = dict(files)
        self.forbidden: set[str] = set()
        self.downloaded: list[str] = []
        self.url = f"http://127.0.0.1:{self.server_port}"

    @contextmanager
    def running(self) -> Iterator[FakeHub]:
        thread = threading.Thread(target=self.serve_forever)
        thread.start()
        try:
            yield self
        finally:
            self.shutdown()
            thread.join()
            self.server_close()

    def description(self) -> dict[str, object]:
        """What the hub's API says of the repository."""
        siblings = [{"rfilename": name} for name in self.files]
        return {"id": self.repository, "sha": COMMIT, "siblings": siblings}

    def tree(self) -> list[dict[str, object]]:
        """What the hub's API says of the repository's files."""
        return [
            {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
            for name, content in self.files.items()
        ]


class _Handler(BaseHTTPRequestHandler):
    server: FakeHub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def _answer(self) -> None:
        hub, path = self.server, self.path.split("?")[0]
        if path.startswith(f"/api/models/{hub.repository}/tree/"):
            self._send(json.dumps(hub.tree()).encode(), {"Content-Type": "application/json"})
        elif path.startswith(f"/api/models/{hub.repository}"):
            self._send(json.dumps(hub.description()).encode(), {"Content-Type": "application/json"})
        elif path.startswith(f"/{hub.repository}/resolve/"):
            self._send_file(path.rsplit("/", 1)[-1])
        else:
            self._send(b"{}", {"X-Error-Code": "RepoNotFound"}, status=404)

    def _send_file(self, name: str) -> None:
        content = self.server.files[name]
        if name in self.server.forbidden:
            self._send(b"{}", {}, status=403)
            return
        if self.command == "GET":
            self.server.downloaded.append(name)
        etag = hashlib.sha256(content).hexdigest()
        self._send(content, {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT})

    def _send(self, body: bytes, headers: Mapping[str, str], status: int = 200) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""
