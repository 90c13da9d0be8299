"""The supervisor keeps processes alive, stops them in order, and finds what a killed one left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from cli.processes import (
    FIRST_DELAY_SECONDS,
    SUPERVISED_BY,
    ProcessDied,
    Service,
    Supervisor,
    stop_leftovers,
)
from tests.stack import wait_until

# Each starts servers or processes of its own.
pytestmark = pytest.mark.slow

SLEEP = "import time; time.sleep(60)"
DEAF = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print('deaf', flush=True)
time.sleep(60)
"""


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def supervisor(said: list[str]) -> Iterator[Supervisor]:
    supervisor = Supervisor(said.append)
    yield supervisor
    supervisor.stop()


def service(tmp_path: Path, program: str = SLEEP, name: str = "sleeper") -> Service:
    return Service(
        name,
        [sys.executable, "-c", program],
        os.environ,
        tmp_path / f"{name}.log",
        stop_signals=((signal.SIGTERM, 0.5),),
    )


def test_a_process_that_died_is_started_again_after_a_delay_that_grows(
    supervisor: Supervisor, said: list[str], tmp_path: Path
) -> None:
    sleeper = service(tmp_path)
    supervisor.start(sleeper)
    now = time.monotonic()
    for delay_seconds in (FIRST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2):
        sleeper.kill()
        supervisor.keep_alive(now)
        assert said[-1] == f"The sleeper has died; starting it again in {delay_seconds:.1f} s."
        supervisor.keep_alive(now + delay_seconds * 0.9)
        assert sleeper.pid is None
        now += delay_seconds
        supervisor.keep_alive(now)
        assert sleeper.pid is not None
        assert said[-1] == f"The sleeper runs again (pid {sleeper.pid})."


def test_a_process_that_lived_long_is_started_again_without_the_grown_delay(
    supervisor: Supervisor, said: list[str], tmp_path: Path
) -> None:
    sleeper = service(tmp_path)
    supervisor.start(sleeper)
    now = time.monotonic()
    for later_seconds in (0, 1, 1000):
        sleeper.kill()
        supervisor.keep_alive(now + later_seconds)
        supervisor.keep_alive(now + later_seconds + 60)
    assert "starting it again in 0.5 s" in said[-2]


def test_killing_again_what_has_gone_spares_whoever_has_its_process_id_now(tmp_path: Path) -> None:
    gone, other = service(tmp_path, name="gone"), service(tmp_path, name="other")
    for each in (gone, other):
        each.start()
    gone.kill()
    assert gone._process is not None
    assert other.pid is not None
    gone._process.pid = other.pid
    gone.kill()
    gone.start()  # it looks for what a predecessor has left, too
    try:
        with pytest.raises(AssertionError, match="did not come true"):
            wait_until(lambda: other.pid is None, 0.5)
    finally:
        gone.kill()
        other.kill()


def test_what_started_last_stops_first(supervisor: Supervisor, tmp_path: Path) -> None:
    order = tmp_path / "order"
    for name in ("first", "second"):
        program = (
            "import signal, sys, time\n"
            f"def bye(*_): open({str(order)!r}, 'a').write('{name} '); sys.exit()\n"
            "signal.signal(signal.SIGTERM, bye); print('up', flush=True); time.sleep(60)"
        )
        process = service(tmp_path, program, name)
        supervisor.start(process)
    logs = [process.log for process in supervisor.processes]
    wait_until(lambda: all("up" in log.read_text() for log in logs), 10)
    supervisor.stop()
    assert order.read_text() == "second first "


def test_a_process_that_ignores_its_signal_is_killed_with_its_children(tmp_path: Path) -> None:
    program = (
        "import subprocess, sys\n"
        f"print(subprocess.Popen([sys.executable, '-c', {SLEEP!r}]).pid, flush=True)\n{DEAF}"
    )
    deaf = service(tmp_path, program)
    deaf.start()
    wait_until(lambda: "deaf" in deaf.log.read_text(), 10)
    child = psutil.Process(int(deaf.log.read_text().split()[0]))
    deaf.stop()
    assert deaf.pid is None
    _, alive = psutil.wait_procs([child], timeout=5)
    assert not alive


def test_a_process_that_dies_while_starting_is_told_with_the_end_of_its_log(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    supervisor.start(service(tmp_path, "import sys; sys.exit('no engine on board')"))
    with pytest.raises(ProcessDied, match=r"sleeper ended with status 1 (.|\n)*no engine on board"):
        supervisor.wait_until(lambda: False, 20, "it")


def test_children_learn_of_the_death_of_a_supervisor_that_was_killed(tmp_path: Path) -> None:
    program = (
        "import os, sys, time; from pathlib import Path; from cli.processes import Service\n"
        f"s = Service('s', [sys.executable, '-c', {SLEEP!r}], os.environ, Path(sys.argv[1])); s.start()\n"
        "print(s.pid, flush=True); time.sleep(60)"
    )
    supervisor = subprocess.Popen(
        [sys.executable, "-c", program, tmp_path / "log"], stdout=subprocess.PIPE, text=True
    )
    assert supervisor.stdout is not None
    child = psutil.Process(int(supervisor.stdout.readline()))
    supervisor.kill()
    supervisor.communicate()
    _, alive = psutil.wait_procs([child], timeout=10)
    assert not alive


def test_leftovers_of_this_data_directory_are_stopped_and_others_are_left_alone(tmp_path: Path) -> None:
    ours, others = (
        subprocess.Popen([sys.executable, "-c", DEAF], env=os.environ | {SUPERVISED_BY: str(tmp_path / name)})
        for name in ("ours", "others")
    )
    try:
        wait_until(lambda: all(SUPERVISED_BY in psutil.Process(p.pid).environ() for p in (ours, others)), 10)
        assert stop_leftovers(tmp_path / "ours", timeout_seconds=0.5) == [ours.pid]
        assert ours.poll() is not None
        assert others.poll() is None
    finally:
        others.kill()
        others.wait()
