"""Echo: its steps, its sleep, and the ways in which it misbehaves when told to."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from model_types.base import Failure, OutputFile, VersionSpec
from model_types.echo import INFO
from model_types.echo.builtin import Echo


@pytest.fixture
def echo() -> Echo:
    engine = Echo()
    engine.info = INFO
    engine.load(VersionSpec(id="1", model="demo/echo", model_type="echo", engine="builtin", path=""), "cpu")
    return engine


def test_it_gives_back_its_text(echo: Echo) -> None:
    assert echo.predict([echo.prepare({"text": "Grüße"})]) == ["Grüße"]


def test_it_fails_when_told_to(echo: Echo) -> None:
    outcomes = echo.predict(
        [echo.prepare({"text": "a", "fail": "out of paper"}), echo.prepare({"text": "b"})]
    )
    assert outcomes == [Failure("model_error", "out of paper"), "b"]


def test_it_gives_back_a_file_when_told_to(echo: Echo) -> None:
    outcomes = echo.predict([echo.prepare({"text": "Grüße", "file": True})])
    assert outcomes == [OutputFile("echo.txt", "text/plain", "Grüße".encode())]


def test_it_takes_as_many_steps_as_asked(echo: Echo) -> None:
    session = echo.session()
    session.add("long", echo.prepare({"text": "long", "steps": 3}))
    session.add("short", echo.prepare({"text": "short"}))
    assert [session.step() for _ in range(3)] == [{"short": "short"}, {}, {"long": "long"}]


def test_it_tells_its_text_in_as_many_parts_as_it_has_steps(echo: Echo) -> None:
    session = echo.session()
    session.add("long", echo.prepare({"text": "hello", "steps": 3}))
    session.add("file", echo.prepare({"text": "hello", "steps": 3, "file": True}))
    heard: list[tuple[int, str]] = []
    for key in ("long", "file", "never was here"):
        session.listen(key, lambda start, chunk: heard.append((start, chunk)))
    while session:
        session.step()
    assert heard == [(0, "h"), (1, "el"), (3, "lo")]


def test_who_listens_later_hears_what_came_before(echo: Echo) -> None:
    session = echo.session()
    session.add("long", echo.prepare({"text": "hello", "steps": 5}))
    session.step()
    session.step()
    heard: list[tuple[int, str]] = []
    session.listen("long", lambda start, chunk: heard.append((start, chunk)))
    session.step()
    assert heard == [(0, "hel")]


def test_it_prints_a_line_at_each_step_when_told_to(echo: Echo, capsys: pytest.CaptureFixture[str]) -> None:
    echo.predict([echo.prepare({"text": "a", "steps": 2, "log": "step"})])
    assert capsys.readouterr().out == "step\nstep\n"


def test_another_may_join_at_any_step(echo: Echo) -> None:
    session = echo.session()
    session.add("first", echo.prepare({"text": "first", "steps": 3}))
    session.step()
    session.add("second", echo.prepare({"text": "second"}))
    assert session.step() == {"second": "second"}
    assert session.step() == {"first": "first"}


def test_a_cancellation_is_seen_between_two_steps(echo: Echo) -> None:
    session = echo.session()
    session.add("gone", echo.prepare({"text": "gone", "steps": 1000}))
    session.step()
    session.cancel("gone")
    assert len(session) == 0
    assert session.step() == {}


def test_echoes_of_one_batch_sleep_together(echo: Echo) -> None:
    batch = [echo.prepare({"text": str(index), "sleep": 0.1, "steps": 1 + index % 2}) for index in range(32)]
    started = time.monotonic()
    assert echo.predict(batch) == [str(index) for index in range(32)]
    assert 0.1 <= time.monotonic() - started < 1.6  # one by one they would take 3.2 s


@pytest.mark.slow
def test_a_crash_kills_its_own_process() -> None:
    program = (
        "from model_types.base import VersionSpec\n"
        "from model_types.echo.builtin import Echo\n"
        "echo = Echo()\n"
        "echo.predict([echo.prepare({'text': '', 'crash': True})])\n"
        "print('survived')\n"
    )
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60)
    assert finished.returncode == -signal.SIGKILL
    assert finished.stdout == b""
