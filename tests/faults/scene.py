"""Where a fault happens: all of Augury at work, clients that remember what was accepted, and the audit."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg

from tests.faults.audit import Record, audit, place_witness
from tests.stack import Stack, wait_until

LEASE_SECONDS = 3
CLIENTS = 8
POOL = "echo"


@dataclass
class Answers:
    """What a crowd of clients was told, and how long the slowest had to wait."""

    accepted: list[str] = field(default_factory=list)
    refused: list[httpx.Response] = field(default_factory=list)
    unanswered: int = 0
    slowest_seconds: float = 0.0

    def take(self, response: httpx.Response | None, seconds: float) -> None:
        self.slowest_seconds = max(self.slowest_seconds, seconds)
        if response is None:
            self.unanswered += 1
        elif response.status_code == httpx.codes.CREATED:
            self.accepted.append(response.json()["id"])
        else:
            self.refused.append(response)


class Scene:
    """A stack with one echo model, and its clients. Every accepted id is remembered for the audit."""

    def __init__(self, stack: Stack, database_url: str) -> None:
        self.stack = stack
        self.database_url = database_url
        self.answers = Answers()
        self._http: httpx.Client | None = None
        self._model = ""
        self._numbers = itertools.count()

    def start(
        self,
        *,
        workers: int = 1,
        lanes: int = 1,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        """Start everything and register the model, whose version has these `options`."""
        self.stack.start(workers=workers, lanes=lanes, pools=[POOL])
        with self.stack.client() as client:
            model = client.add_model(
                {
                    "owner": "test",
                    "name": "echo",
                    "model_type": "echo",
                    "model_path": "echo",
                    "options": dict(options or {}),
                }
            )
        self._model = f"{model['owner']}/{model['name']}"
        self._http = httpx.Client(
            base_url=self.stack.url,
            headers={"Authorization": f"Bearer {self.stack.token()}"},
            timeout=30,
            trust_env=False,
        )
        place_witness(self.database_url)

    def close(self) -> None:
        if self._http is not None:
            self._http.close()

    # -- clients -----------------------------------------------------------------------------------------

    def post(self, **input: Any) -> httpx.Response | None:
        """One client's request; None when no answer came. The text is different each time."""
        assert self._http is not None, "the scene has not started"
        body = {"model": self._model, "input": {"text": f"echo {next(self._numbers)}", **input}}
        started = time.monotonic()
        try:
            response = self._http.post("/v1/predictions", json=body)
        except httpx.TransportError:
            response = None
        self.answers.take(response, time.monotonic() - started)
        return response

    def submit(self, count: int = 1, **input: Any) -> list[str]:
        """Submit so many at once; all must be accepted. Returns their ids."""
        with ThreadPoolExecutor(CLIENTS) as clients:
            responses = list(clients.map(lambda _: self.post(**input), range(count)))
        assert [r for r in responses if r is None or r.status_code != httpx.codes.CREATED] == []
        return [response.json()["id"] for response in responses if response is not None]

    def submit_when_back(self) -> list[str]:
        """Submit one, as often as it takes until it is accepted."""
        known = len(self.answers.accepted)
        wait_until(lambda: self.post() is not None and len(self.answers.accepted) > known, 20, "a 201")
        return self.answers.accepted[known:]

    @contextmanager
    def submissions_under_way(self, **input: Any) -> Iterator[None]:
        """Meanwhile four clients submit one prediction after the other, whatever they are answered."""
        over = threading.Event()

        def submit_until_over() -> None:
            while not over.wait(0.02):
                self.post(**input)

        with ThreadPoolExecutor(4) as clients:
            submitting = [clients.submit(submit_until_over) for _ in range(4)]
            try:
                yield
            finally:
                over.set()
        for future in submitting:
            future.result()

    # -- what can be seen --------------------------------------------------------------------------------

    def rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.database_url) as connection:
            return connection.execute(query, parameters).fetchall()

    def lane_of(self, prediction_id: str, *, timeout_seconds: float = 30) -> int:
        """The process that runs a prediction, as soon as one does."""
        query = "SELECT l.pid FROM queue q JOIN lanes l ON l.id = q.lane WHERE q.id = %s"
        wait_until(lambda: bool(self.rows(query, prediction_id)), timeout_seconds, "a lane's claim")
        return int(self.rows(query, prediction_id)[0][0])

    def wait_until_ended(self, *ids: str, timeout_seconds: float = 60) -> None:
        """Wait until these have ended, or everything where none are named."""
        query = "SELECT count(*) FROM queue WHERE %s::text[] = '{}' OR id = ANY(%s)"
        named = list(ids)
        wait_until(
            lambda: self.rows(query, named, named) == [(0,)], timeout_seconds, "the end of all predictions"
        )

    def wait_until_live(self) -> None:
        """Wait until the gateway answers."""
        wait_until(self._is_live, 30, "the gateway's answer")

    def _is_live(self) -> bool:
        assert self._http is not None, "the scene has not started"
        try:
            self._http.get("/health")
        except httpx.TransportError:
            return False
        return True

    def audit(self) -> Mapping[str, Record]:
        """Prove that nothing was lost; how each has ended."""
        lost = self.answers.unanswered + len(self.answers.refused)
        return audit(self.database_url, self.answers.accepted, answers_lost=lost)


@contextmanager
def scene_in(directory: Path, *, database_url: str, redis_url: str) -> Iterator[Scene]:
    """A scene on given servers, not started yet; everything it has started is killed afterwards."""
    stack = Stack(
        directory,
        database_url=database_url,
        redis_url=redis_url,
        environment={"LEASE_SECONDS": str(LEASE_SECONDS), "RATE_LIMIT_CREATE": "1000000/minute"},
    )
    scene = Scene(stack, database_url)
    try:
        yield scene
    finally:
        scene.close()
        stack.kill_all()
