"""What is told of predictions while they run: chunks of output to those who ask, and all that is printed."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import redis
from msgspec.structs import replace
from pydantic import BaseModel

from db.blobs import REFERENCE_PREFIX, Blobs
from db.ids import new_id
from db.leases import Lease, Outcome
from db.settings import BlobSettings
from model_types import registry
from model_types.base import Failure, ModelType, OutputFile, TypeInfo, VersionSpec
from workers.input_settings import InputSettings
from workers.inputs import InputFiles
from workers.jobs import Job
from workers.messages import StreamEntry, stream_key
from workers.printing import Overhearing
from workers.residency import Resident
from workers.streams import StreamWriter
from workers.work import Work, prepare

ECHO = VersionSpec(id="v", model="test/echo", model_type="echo", engine="builtin", path="")


def lease(**fields: Any) -> Lease:
    made = Lease(new_id(), "lane", 1, 0, 1, {}, "ann", None, datetime.now(UTC))
    return replace(made, **fields)


class Telling:
    """Sessions whose predictions can be followed, and what Redis has of each."""

    def __init__(self, redis_url: str) -> None:
        self.writer = StreamWriter(redis_url)
        self._client = redis.Redis.from_url(redis_url)

    def echoes(self, *jobs: tuple[Lease, dict[str, Any]]) -> Work:
        model = registry.engine(ECHO)
        model.load(ECHO, "cpu")
        work = Work(Resident(ECHO, model.info, model, memory_bytes=0), streams=self.writer)
        for held, value in jobs:
            work.join(Job(held, model.prepare(value)))
        return work

    def followed(self, job: Job) -> Job:
        """This one, with somebody who follows it."""
        job.follow(self.writer.open(job.lease))
        return job

    def heard(self, of: Lease, event: str = "output") -> list[str]:
        """What followers of this one have been told."""
        assert self.writer.flush(5)
        # Any: the client's annotations allow for answers that have been decoded.
        found: Any = self._client.xrange(stream_key(of.id, of.attempt))
        entries = [StreamEntry.read(fields) for _, fields in found]
        return [entry.data for entry in entries if entry.event == event]

    def close(self) -> None:
        self.writer.close()
        self._client.close()


@pytest.fixture
def telling(redis_url: str) -> Iterator[Telling]:
    with closing(Telling(redis_url)) as opened:
        yield opened


def run(work: Work) -> dict[str, Outcome]:
    """Step until everybody has left; the outcomes by the predictions' ids."""
    outcomes: list[Outcome] = []
    while len(work):
        outcomes += work.step()
    return {outcome.lease.id: outcome for outcome in outcomes}


def output(outcome: Outcome) -> Any:
    return json.loads(outcome.output or "null")


def test_a_prediction_that_streams_ends_as_the_list_of_what_was_told(telling: Telling) -> None:
    streams, plain = lease(streams=True), lease()
    value = {"text": "hello world", "steps": 3}
    outcomes = run(telling.echoes((streams, value), (plain, value)))
    assert output(outcomes[streams.id]) == telling.heard(streams) == ["hel", "lo w", "orld"]
    assert output(outcomes[plain.id]) == "hello world"
    assert telling.heard(plain) == []


def test_who_begins_to_listen_is_told_first_what_there_is_so_far(telling: Telling) -> None:
    held = lease(webhook_events=frozenset({"output"}))
    work = telling.echoes((held, {"text": "abcdef", "steps": 6}))
    work.step()
    work.step()
    assert telling.heard(held) == []
    for _ in range(2):
        work.follow([held.id, "never was here"])
    assert telling.heard(held) == ["ab"]
    assert output(run(work)[held.id]) == "abcdef"
    assert telling.heard(held) == ["ab", "c", "d", "e", "f"]


def test_who_listens_to_what_nobody_has_heard_is_told_all_of_it(telling: Telling) -> None:
    held = lease()
    work = telling.echoes((held, {"text": "abcdef", "steps": 3}))
    work.step()
    work.follow([held.id])
    run(work)
    assert telling.heard(held) == ["abcd", "ef"]


def test_what_an_engine_leaves_untold_is_the_last_chunk(telling: Telling) -> None:
    job = telling.followed(Job(lease(streams=True)))
    job.chunks_are = "text"
    job.hear(0, "all but ")
    assert output(job.outcome("all but this")) == ["all but ", "this"]
    assert telling.heard(job.lease) == ["all but ", "this"]


def test_a_run_that_begins_again_repeats_nothing(telling: Telling) -> None:
    job = telling.followed(Job(lease(streams=True)))
    job.chunks_are = "text"
    for start, chunk in [(0, "ab"), (2, "c"), (0, "a"), (1, "bcd"), (4, "e")]:
        job.hear(start, chunk)
    assert telling.heard(job.lease) == ["ab", "c", "d", "e"]


def test_a_run_that_comes_out_differently_has_the_last_word(
    telling: Telling, caplog: pytest.LogCaptureFixture
) -> None:
    job = telling.followed(Job(lease(streams=True)))
    job.chunks_are = "text"
    job.hear(0, "one way")
    assert output(job.outcome("another way")) == ["another way"]
    assert "is not what was told of it" in caplog.text


def test_a_file_in_the_place_of_a_text_is_the_only_piece_of_its_list(telling: Telling) -> None:
    streams, plain = lease(streams=True), lease()
    outcomes = run(telling.echoes(*((held, {"text": "hello", "file": True}) for held in (streams, plain))))
    files = {id: REFERENCE_PREFIX + outcome.files[0].key for id, outcome in outcomes.items()}
    assert output(outcomes[streams.id]) == [files[streams.id]]
    assert output(outcomes[plain.id]) == files[plain.id]


def test_items_are_told_as_json_until_one_of_them_is_a_file(telling: Telling) -> None:
    class Point(BaseModel):
        x: int

    job = telling.followed(Job(lease()))
    job.chunks_are = "items"
    items = ["ü", {"a": None}, Point(x=1), OutputFile("a.txt", "text/plain", b"a"), "later"]
    for place, item in enumerate(items[:2]):
        job.hear(place, item)
    for place, item in enumerate(items):
        job.hear(place, item)
    assert telling.heard(job.lease, "item") == ['"ü"', '{"a": null}', '{"x": 1}']
    assert job.so_far() == ('["ü",{"a": null},{"x": 1}]', "")


def test_a_text_within_an_output_is_told_and_the_output_stays_whole(telling: Telling) -> None:
    class Said(BaseModel):
        text: str
        words: int

    job = telling.followed(Job(lease(streams=True)))
    job.chunks_are, job.text_field = "text", "text"
    job.hear(0, "Oh dear!")
    assert job.so_far() == ('{"text": "Oh dear!"}', "")
    assert output(job.outcome(Said(text="Oh dear! Late.", words=3))) == {"text": "Oh dear! Late.", "words": 3}
    assert telling.heard(job.lease) == ["Oh dear!", " Late."]


def test_progress_stands_in_the_logs_as_clients_read_it_there() -> None:
    job = Job(lease())
    for share in (0.0, 0.254, 0.2549, 0.5):
        job.note_progress(share)
    assert job.outcome("done").logs == (
        " 25%|##        | 25/100\n 50%|#####     | 50/100\n100%|##########| 100/100\n"
    )
    for line in job.logs.splitlines():
        assert re.match(r"^\s*(\d+)%\s*\|.+?\|\s*(\d+)/(\d+)", line)
    assert Job(lease()).outcome("done").logs == ""


class Prompt(BaseModel):
    """What a talker is asked."""

    text: str


class Talker(ModelType):
    """Prints what it does, two rows at a time, and stumbles over some texts."""

    def load(self, version: VersionSpec, device: str) -> None:
        self.spec = version

    def prepare(self, value: Prompt) -> str:
        print(f"reading {value.text}")
        if value.text == "unreadable":
            raise ValueError("this cannot be read")
        return value.text

    def predict(self, batch: Sequence[str]) -> Sequence[str | Failure]:
        sys.stderr.write(f"\rrunning {len(batch)}")
        if "bad" in batch:
            raise RuntimeError("stumbled")
        return list(batch)


TALKER = VersionSpec("v", "test/talker", "talking", "", "", options={"pass_rows": 2})


def talk(*texts: str, blobs: Path) -> dict[str, Outcome]:
    """What becomes of these, which a lane prepares and runs."""
    info = TypeInfo("talking", "", Prompt, str, engines={}, default_engine="")
    model = Talker()
    model.info = info
    model.load(TALKER, "cpu")
    resident = Resident(TALKER, info, model, memory_bytes=0)
    store = Blobs(BlobSettings(blob_store=str(blobs), _env_file=None))
    work = Work(resident)
    outcomes: dict[str, Outcome] = {}
    leases = [lease(input={"text": text}) for text in texts]
    with closing(InputFiles(InputSettings(_env_file=None), store)) as files, closing(Overhearing()):
        for one in prepare(resident, leases, files):
            if isinstance(one, Job):
                work.join(one)
            else:
                outcomes[one.lease.id] = one
        outcomes |= run(work)
    return {str(held.input["text"]): outcomes[held.id] for held in leases}


def test_logs_are_what_a_prediction_s_own_preparation_prints_and_its_pass(tmp_path: Path) -> None:
    outcomes = talk("a", "b", "c", blobs=tmp_path)
    assert {text: outcome.logs for text, outcome in outcomes.items()} == {
        "a": "reading a\nrunning 1",
        "b": "reading b\nrunning 2",
        "c": "reading c\nrunning 2",
    }


def test_who_cannot_be_prepared_keeps_what_was_printed_of_it(tmp_path: Path) -> None:
    outcome = talk("unreadable", blobs=tmp_path)["unreadable"]
    assert (outcome.failure, outcome.logs) == ("invalid_input", "reading unreadable\n")


def test_only_who_fails_has_the_traceback_in_its_logs(tmp_path: Path) -> None:
    outcomes = talk("bad", "good", blobs=tmp_path)
    assert outcomes["good"].logs == "reading good\nrunning 2\nrunning 1\nrunning 1"
    bad = outcomes["bad"]
    assert bad.error == "RuntimeError: stumbled"
    assert bad.logs is not None
    assert "\nTraceback (most recent call last):\n" in bad.logs
    assert bad.logs.endswith("RuntimeError: stumbled\n")
