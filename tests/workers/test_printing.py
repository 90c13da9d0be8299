"""What models print: who hears it, and how it stands in the logs of a prediction."""

from __future__ import annotations

import logging
import sys
import threading
from contextlib import closing, nullcontext

import pytest

from workers.printing import CUT_LINE, MAX_CHARACTERS, Overhearing, Printed, overhear


def test_what_is_printed_is_heard_and_passed_on(capsys: pytest.CaptureFixture[str]) -> None:
    heard: list[str] = []
    with closing(Overhearing()), overhear(heard.append):
        print("to standard output")
        print("to standard error", file=sys.stderr)
        sys.stdout.writelines(["several\n", "lines\n"])
    print("afterwards")
    assert "".join(heard) == "to standard output\nto standard error\nseveral\nlines\n"
    assert capsys.readouterr() == ("to standard output\nseveral\nlines\nafterwards\n", "to standard error\n")


def test_each_thread_has_a_listener_of_its_own() -> None:
    heard: dict[str, list[str]] = {"a": [], "b": [], "nobody": []}
    everybody = threading.Barrier(3)

    def work(name: str) -> None:
        with overhear(heard[name].append) if name != "nobody" else nullcontext():
            everybody.wait(5)
            sys.stderr.write(name)
            everybody.wait(5)

    threads = [threading.Thread(target=work, args=(name,)) for name in heard]
    with closing(Overhearing()):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert heard == {"a": ["a"], "b": ["b"], "nobody": []}


def test_log_handlers_that_were_there_before_are_not_heard() -> None:
    logger = logging.getLogger("tests.printing")
    logger.addHandler(handler := logging.StreamHandler())
    heard: list[str] = []
    with closing(Overhearing()), overhear(heard.append):
        logger.warning("a worker's own line")
        assert sys.stderr.isatty() == handler.stream.isatty()
    logger.removeHandler(handler)
    assert heard == []


def test_whoever_has_put_another_stream_in_place_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    before = sys.stdout
    ears = Overhearing()
    monkeypatch.setattr(sys, "stdout", other := sys.__stderr__)
    ears.close()
    assert sys.stdout is other
    monkeypatch.setattr(sys, "stdout", before)


def printed(*texts: str) -> str:
    """The logs after these have been printed; what was told of each is what they consist of."""
    logs = Printed()
    told = [logs.add(text) for text in texts]
    assert str(logs) == "".join(told)
    assert logs.characters == len(str(logs))
    return str(logs)


def test_each_state_of_a_progress_bar_is_a_line_of_its_own() -> None:
    bar = ["\r  0%|          | 0/2", "\r 50%|#####     | 1/2", "\r100%|##########| 2/2", "\n", "done\n"]
    lines = ["  0%|          | 0/2", " 50%|#####     | 1/2", "100%|##########| 2/2", "done"]
    assert printed(*bar) == "\n".join(lines) + "\n"
    assert printed("".join(bar)) == "\n".join(lines) + "\n"


def test_line_ends_of_other_systems_are_one_line_end() -> None:
    assert printed("a\r\nb\r\n") == "a\nb\n"
    assert printed("a\r", "\nb\r", "\n", "\n") == "a\nb\n\n"
    assert printed("a\r\r\rb", "", "\rc") == "a\nb\nc"


def test_what_the_database_cannot_keep_is_replaced() -> None:
    assert printed("a\0b\ud800") == "a\N{REPLACEMENT CHARACTER}b?"


@pytest.mark.slow
def test_of_long_logs_the_newest_lines_are_kept() -> None:
    logs = Printed()
    lines = [f"line {number}\n" for number in range(100_000)]
    for line in lines:
        logs.add(line)
    text = str(logs)
    assert text.startswith(CUT_LINE)
    assert len(text) <= MAX_CHARACTERS + len(CUT_LINE)
    kept = text.removeprefix(CUT_LINE)
    assert "".join(lines).endswith("\n" + kept)
    assert len(kept) > MAX_CHARACTERS - 100


def test_of_one_endless_line_the_end_is_kept() -> None:
    logs = Printed()
    logs.add("x" * 3 * MAX_CHARACTERS)
    assert str(logs) == CUT_LINE + "x" * MAX_CHARACTERS
