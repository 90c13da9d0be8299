"""A lane's parts on a real database, in this process, and a model type that tells what it was asked to do."""

from __future__ import annotations

import asyncio
import json
import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import redis
from pydantic import BaseModel
from sqlalchemy import text

from db import lanes
from db.blobs import Blobs
from db.ids import new_id
from db.leases import Leases
from db.session import sync_engine
from db.settings import BlobSettings, DatabaseSettings
from db.states import Priority
from db.submissions import Submission, submit
from model_types.base import DeviceLost, Failure, ModelType, ModelUnavailable, TypeInfo, VersionSpec
from model_types.media import ImageInput
from workers.announcing import Announcer
from workers.bells import Bells
from workers.events import Observers
from workers.finishing import Finisher
from workers.input_settings import InputSettings
from workers.inputs import InputFiles
from workers.metrics import Metrics
from workers.residency import Residency
from workers.runner import Runner
from workers.tuning import TuningSettings
from workers.warming import warm_up

POOL = "recording"


class Input(BaseModel):
    """What a recorder is to do."""

    text: str
    seconds: float = 0.0
    unfit: bool = False
    image: ImageInput | None = None
    poison: bool = False


INFO = TypeInfo(
    name=POOL,
    description="Tells what it was asked to do.",
    Input=Input,
    Output=Any,
    engines={"recorder": "tests.workers.workshop:Recorder"},
    default_engine="recorder",
)


@dataclass
class Journal:
    """What the models of one test did, in order: (load | prepare | begin | end | unload, what)."""

    events: list[tuple[str, Any]] = field(default_factory=list)

    def note(self, event: str, what: Any) -> None:
        self.events.append((event, what))

    def of(self, event: str) -> list[Any]:
        """What this kind of event was about, in order."""
        return [what for name, what in self.events if name == event]


# By the path of the versions that write in them: a registry makes engines without arguments.
JOURNALS: dict[str, Journal] = {}


class Recorder(ModelType):
    """A static batch model: sleeps for the longest of its batch, and gives the texts back."""

    def load(self, version: VersionSpec, device: str) -> None:
        self.spec = version
        self._journal = JOURNALS[version.path]
        self._journal.note("load", version.id)
        time.sleep(version.options.get("load_seconds", 0.0))
        if reason := version.options.get("unavailable"):
            raise ModelUnavailable(reason)
        if reason := version.options.get("broken"):
            raise OSError(reason)
        if reason := version.options.get("lost"):
            raise DeviceLost(reason)

    def memory_bytes(self) -> int:
        return int(self.spec.options.get("bytes", 0))

    def unload(self) -> None:
        self._journal.note("unload", self.spec.id)

    def prepare(self, value: Input) -> Input:
        self._journal.note("prepare", value.text)
        if value.image is not None:
            self._journal.note("image", value.image.content.size)
        if value.unfit:
            raise ValueError("this does not fit")
        return value

    def predict(self, batch: Sequence[Input]) -> Sequence[Any | Failure]:
        texts = [one.text for one in batch]
        self._journal.note("begin", texts)
        time.sleep(max(one.seconds for one in batch) + len(batch) * self.spec.options.get("row_seconds", 0.0))
        if any(one.poison for one in batch):
            raise RuntimeError("poisoned:\n a batch")
        self._journal.note("end", texts)
        return [OUTPUTS.get(one.text, one.text) for one in batch]


def _nested(levels: int) -> Any:
    value: Any = "bottom"
    for _ in range(levels):
        value = [value]
    return value


# What a recorder gives back for these texts: no JSON, each in its own way.
OUTPUTS: dict[str, Any] = {
    "nan": math.nan,
    "bytes": b"x",
    "half a character": "\ud800",
    "nested": _nested(100_000),
    "own failure": Failure("out_of_memory", "too\0big \ud800"),
}


def _reason(found: object) -> str | None:
    return str(found) if isinstance(found, ModelUnavailable) else None


class Workshop:
    """One lane's parts, without its pulse; `serve` answers a bell and returns what the journal holds."""

    def __init__(
        self,
        database_url: str,
        redis_url: str,
        *,
        budget_bytes: int = 1 << 40,
        affinity_seconds: float = 60.0,
        batch_pass_seconds: float = 0.05,
        batch_hold_off_seconds: float = 0.0,
        tuning: dict[str, Any] | None = None,
        blob_store: Path,
        **versions: dict[str, Any],
    ) -> None:
        """`versions` are their options by id; without any there is one, `v`. `tuning` are settings."""
        self.name = new_id()
        self.journal = JOURNALS[self.name] = Journal()
        self.versions = {
            version_id: self._version(version_id, options)
            for version_id, options in (versions or {"v": {}}).items()
        }
        self.stopping = False
        self.engine = sync_engine(DatabaseSettings(database_url=database_url))
        self.client = redis.Redis.from_url(redis_url)
        self.bells = Bells(self.client)
        self.metrics = Metrics(self.client)
        self.leases = self.lane("lane", slot=0)
        observers = Observers(self.metrics)
        self.blobs = Blobs(BlobSettings(blob_store=str(blob_store), _env_file=None))
        self.finisher = Finisher(self.leases, self.blobs, Announcer(self.client, self.bells).ended, observers)
        files = InputFiles(InputSettings(_env_file=None), self.blobs)
        self.told: list[tuple[str, str | None]] = []
        tuned = TuningSettings(**tuning or {}, _env_file=None)
        self.residency = Residency(
            self.versions.get,
            budget_bytes=budget_bytes,
            device=lambda: "cpu",
            batching=tuned.batching,
            warm_up_runs=tuned.warm_up_runs,
            warm_up=partial(
                warm_up, files=files, runs=tuned.warm_up_runs, batch_size=tuned.warmup_batch_size
            ),
            tell=lambda version_id, found: self.told.append((version_id, _reason(found))),
        )
        self.runner = Runner(
            leases=self.leases,
            residency=self.residency,
            files=files,
            finisher=self.finisher,
            bells=self.bells,
            observer=observers,
            stopping=lambda: self.stopping,
            affinity_seconds=affinity_seconds,
            batch_pass_seconds=batch_pass_seconds,
            batch_hold_off_seconds=batch_hold_off_seconds,
        )
        self._database_url = database_url
        self._aside: threading.Thread | None = None

    def _version(self, version_id: str, options: dict[str, Any]) -> VersionSpec:
        return VersionSpec(version_id, f"test/{version_id}", POOL, "recorder", self.name, options=options)

    def lane(self, name: str, *, slot: int) -> Leases:
        """Another lane of the same worker."""
        lanes.register(self.engine, lanes.LaneInfo(name, "worker", slot, "here", 1, [POOL]))
        return Leases(self.engine, name)

    def submit(
        self,
        *texts: str,
        version: str = "v",
        pool: str = POOL,
        priority: Priority = Priority.DEFAULT,
        id: str | None = None,
        **inputs: Any,
    ) -> list[str]:
        """Queue predictions in one commit; their ids. A single one may be called `id`."""
        batch = [
            Submission(
                id=id or new_id(),
                owner_id="ann",
                version_id=version,
                model_id="model",
                pool=pool,
                input=json.dumps({"text": text} | inputs),
                created_at=datetime.now(UTC),
                priority=priority,
            )
            for text in texts
        ]
        asyncio.run(self._submit(batch))
        return [one.id for one in batch]

    async def _submit(self, batch: list[Submission]) -> None:
        async with await psycopg.AsyncConnection.connect(self._database_url, autocommit=True) as connection:
            await submit(connection, batch)

    def serve(self, expected: str | None = None) -> Journal:
        """Answer one bell."""
        self.runner.serve(POOL, expected=expected)
        return self.journal

    def serve_aside(self, expected: str | None = None) -> threading.Thread:
        """Answer one bell in a thread."""
        self._aside = threading.Thread(target=self.serve, args=[expected])
        self._aside.start()
        return self._aside

    def batches(self) -> list[list[str]]:
        """The texts of each batch that began, in order."""
        return self.journal.of("begin")

    def rows(self, query: str) -> list[Any]:
        """What a query finds."""
        with self.engine.connect() as connection:
            return list(connection.execute(text(query)).all())

    def ended(self) -> dict[str, tuple[str, Any, str | None, str | None]]:
        """Of each prediction by its text: status, output, failure and error."""
        rows = self.rows("SELECT input->>'text' AS said, status, output, failure, error FROM predictions")
        return {row.said: (row.status, row.output, row.failure, row.error) for row in rows}

    def close(self) -> None:
        self.stopping = True
        if self._aside is not None:
            self._aside.join()
        self.finisher.close()
        self.runner.close()
        self.engine.dispose()
        self.client.close()
        del JOURNALS[self.name]
