"""`augury up` as an operator lives with it: one command, one data directory, and no surprises."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.embedded import free_port, processes_at_work_in
from cli.postgres import EmbeddedPostgres
from tests.cli.operator import START_SECONDS, Operator, at_work_in
from tests.stack import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


RECITAL = str(Path(__file__).parents[2] / "examples" / "demo_models" / "recital")
CATALOG = f"models: [{{name: acme/chosen, type: text-generation, path: {RECITAL}}}]"


@pytest.fixture
def operator(tmp_path: Path) -> Iterator[Operator]:
    """Who has typed nothing yet, and has no demo model but echo where `--no-demo` is said."""
    with at_work_in(tmp_path) as operator:
        operator.environment["MODELS"] = "demo/echo"
        yield operator


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """A server with demo/echo and a model of a catalog, for the tests that can share it."""
    with at_work_in(tmp_path_factory.mktemp("running")) as operator:
        (operator.folder / "models.yaml").write_text(CATALOG)
        operator.environment["MODELS"] = "demo/echo,acme/*"
        operator.up("--no-demo")
        yield operator


def test_from_nothing_to_predictions_and_back_and_a_second_start_remembers_everything(
    operator: Operator,
) -> None:
    printed = operator.up().stdout
    credentials = operator.data.path / "credentials.json"
    assert credentials.stat().st_mode & 0o777 == 0o600
    kept = json.loads(credentials.read_text())
    assert set(kept) == {"url", "username", "password", "api_token"}
    assert kept["api_token"] in printed
    assert printed.count("curl -s") == 3

    status = operator.type("status")
    assert status.returncode == 0
    assert kept["url"] in status.stdout

    with operator.client() as client:
        assert {"echo", "recital"} <= {model["name"] for model in client.models() if model["owner"] == "demo"}
        before = client.predict("demo/echo", {"text": "remember me"}, wait_seconds=30)
        assert (before["status"], before["output"]) == ("succeeded", "remember me")
        assert client.log_in(kept["username"], kept["password"])
    _require_the_newcomers_prediction(operator)

    assert operator.down().returncode == 0
    assert operator.type("status").returncode == 3
    assert operator.processes() == []

    operator.up("--no-demo")
    assert json.loads(credentials.read_text()) == kept
    with operator.client() as client:
        assert client.prediction(before["id"])["output"] == "remember me"


def _require_the_newcomers_prediction(operator: Operator) -> None:
    """What is told to who sees it for the first time: one real prediction."""
    log = operator.data.log("up")
    wait_until(lambda: "Ctrl-C stops everything" in log.read_text(), START_SECONDS)
    told = log.read_text()
    assert "Alice was beginning to get" in told
    assert "very tired of sitting by her sister" in told
    assert "s in all" in told


def test_a_supervisor_that_was_killed_leaves_nothing_that_stops_the_next_and_loses_nothing(
    operator: Operator,
) -> None:
    operator.up("--no-demo")
    with operator.client() as client:
        waiting = [
            client.predict("demo/echo", {"text": str(number), "sleep": 0.2}, wait_seconds=0)["id"]
            for number in range(20)
        ]
    operator.supervisor().kill()
    wait_until(lambda: operator.data.run() is None, 10)
    operator.up("--no-demo")
    with operator.client() as client:
        wait_until(lambda: all(client.prediction(id)["status"] == "succeeded" for id in waiting), 60)
        assert [client.prediction(id)["output"] for id in waiting] == [str(number) for number in range(20)]


def test_a_process_that_dies_is_started_again(running: Operator) -> None:
    gateway = next(p for p in running.processes() if p.cmdline()[1:] == ["-m", "api"])
    gateway.kill()
    log = running.data.log("up")
    wait_until(lambda: "The gateway runs again" in log.read_text(), 30)
    with running.client() as client:
        wait_until(client.is_ready, 60)
        assert client.predict("demo/echo", {"text": "still here"}, wait_seconds=30)["output"] == "still here"


def test_ctrl_c_stops_everything_cleanly(operator: Operator) -> None:
    words = ["up", "--no-demo", "--port", str(operator.port), "--data-dir", str(operator.data.path)]
    up = subprocess.Popen(
        [sys.executable, "-m", "cli", *words],
        cwd=operator.folder,
        env=operator.environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: (run := operator.data.run()) is not None and run.state == "ready", START_SECONDS)
    up.send_signal(signal.SIGINT)
    printed, _ = up.communicate(timeout=60)
    assert up.returncode == 0
    assert printed.endswith("Everything has stopped.\n")
    assert operator.processes() == []


def test_a_second_run_in_the_same_directory_gets_one_clear_sentence(running: Operator) -> None:
    for options in ([], ["--detach"]):
        second = running.type("up", "--port", str(free_port()), *options)
        assert second.returncode == 1
        assert "is in use by another run" in second.stderr
        assert len(second.stderr.strip().splitlines()) == 1


def test_a_port_in_use_gets_one_clear_sentence_before_anything_starts(
    operator: Operator, own_postgres: EmbeddedPostgres
) -> None:
    result = operator.type("up", "--port", str(own_postgres.port))
    assert result.returncode == 1
    assert result.stderr == (
        f"Error: Port {own_postgres.port} of 127.0.0.1 is in use by another program: "
        "choose another with --port.\n"
    )
    assert not operator.data.postgres.exists()


def test_a_database_that_is_given_is_used_instead_of_ours(operator: Operator, database_url: str) -> None:
    operator.environment["DATABASE_URL"] = database_url
    operator.up("--no-demo")
    assert not operator.data.postgres.exists()
    assert processes_at_work_in(operator.data.valkey, "valkey-server")
    with operator.client() as client:
        assert client.predict("demo/echo", {"text": "hi"}, wait_seconds=30)["output"] == "hi"


def test_a_broker_that_is_given_is_used_instead_of_ours(operator: Operator, redis_url: str) -> None:
    operator.environment["REDIS_URL"] = redis_url
    operator.up("--no-demo")
    assert not operator.data.valkey.exists()
    with operator.client() as client:
        assert client.predict("demo/echo", {"text": "hi"}, wait_seconds=30)["output"] == "hi"


def test_a_database_that_does_not_answer_gets_one_clear_sentence(operator: Operator) -> None:
    operator.environment["DATABASE_URL"] = "postgresql://nobody@127.0.0.1:9/none"
    started_at = time.monotonic()
    result = operator.type("up", "--port", str(operator.port))
    assert result.returncode == 1
    assert result.stderr.startswith("Error: The database cannot be used: ")
    assert "Traceback" not in result.stderr
    assert time.monotonic() - started_at < 30


def test_a_local_model_is_added_listed_and_answers_and_one_that_is_nowhere_is_refused(
    running: Operator,
) -> None:
    assert "acme/chosen" in running.type("models", "list").stdout
    added = running.type("models", "add", "--type", "text-generation", "--path", RECITAL, "acme/reciter")
    assert added.returncode == 0, added.stderr
    assert "acme/reciter" in running.type("models", "list").stdout
    with running.client() as client:
        prediction = client.predict(
            "acme/reciter", {"prompt": "Alice was", "temperature": 0}, wait_seconds=60
        )
    assert "beginning to get very tired" in prediction["output"]

    nowhere = running.type("models", "add", "--type", "text-generation", "--path", "/no/where", "acme/none")
    assert nowhere.returncode == 1
    assert nowhere.stderr.startswith("Error: /no/where is neither a folder nor a repository's name")


def test_without_a_server_the_models_commands_say_how_to_start_one(operator: Operator) -> None:
    result = operator.type("models", "list")
    assert result.returncode == 1
    assert "start a server with `augury up`" in result.stderr
