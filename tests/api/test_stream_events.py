"""Events of streams: on the wire, and cut anywhere without loss or repetition."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.streams import Position, StartedAgain, Telling, broken_off, done, event, is_over, pieces, text_of

TEXT = "Curiouser and curiouser!"


def telling(position: Position | None = None, *, attempt: int = 1) -> Telling:
    return Telling(position or Position(), attempt, show=lambda value: value)


def sent(events: bytes) -> tuple[list[str], str]:
    """The data of events, and the id of the last one."""
    blocks = [
        dict(line.split(": ", 1) for line in block.split("\n"))
        for block in events.decode().split("\n\n")[:-1]
    ]
    return [block["data"] for block in blocks], blocks[-1]["id"] if blocks else ""


def cut(text: str, places: list[int]) -> list[str]:
    bounds = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    return [text[start:end] for start, end in itertools.pairwise(bounds)]


Places = st.lists(st.integers(min_value=0, max_value=200), max_size=8)


@pytest.mark.slow
@given(st.text("aä€🙂", min_size=1, max_size=40), Places, Places, st.integers(min_value=0))
def test_who_comes_back_after_any_event_gets_the_rest_however_another_source_is_cut(
    text: str, first: list[int], second: list[int], leaves_after: int
) -> None:
    chunks = [chunk for chunk in cut(text, first) if chunk]
    source = telling()
    parts: list[str] = []
    event_id = ""
    for chunk in chunks[: leaves_after % (len(chunks) + 1)]:
        data, event_id = sent(source.output(chunk))
        parts += data
    other = telling(Position.read(event_id), attempt=2)
    for chunk in cut(text, second):
        parts += sent(other.output(chunk))[0]
    other.end()
    assert "".join(parts) == text


def test_another_text_is_not_taken_for_the_end_of_the_first_one() -> None:
    source = telling()
    source.output(TEXT)
    for other in (TEXT[1:] + TEXT, TEXT.upper()):
        with pytest.raises(StartedAgain):
            telling(source.position).output(other)
    shorter = telling(source.position)
    assert shorter.output(TEXT[:-1]) == b""
    with pytest.raises(StartedAgain):
        shorter.end()


def test_logs_go_on_within_an_attempt_and_begin_anew_with_the_next_one() -> None:
    source = telling()
    source.logs("one\n")
    assert b"data: two" in telling(source.position).logs("one\ntwo")
    assert b"data: one" not in telling(source.position).logs("one\ntwo")
    assert b"data: one" in telling(source.position, attempt=2).logs("one\ntwo")


@pytest.mark.parametrize(
    "event_id", ["", "1", "nonsense", "1-2-3-4", "-1-5-00000000-0", "1-2-zzzzzzzz-3", "٣-1-00000000-0"]
)
def test_an_id_that_is_none_of_ours_means_the_beginning(event_id: str) -> None:
    assert Position.read(event_id) == Position()


def test_the_id_of_the_last_event_is_known_again() -> None:
    position = Position(2, 17, "0a1b2c3d", 5)
    assert Position.read(str(position)) == position
    _, last = sent(done(position))
    assert is_over(last)
    assert not is_over(str(position))
    assert Position.read(last) == position


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        ("a", ["a"]),
        ("a\nb", ["a", "b"]),
        ("\n", ["", ""]),
        ("a\r\nb\rc\n", ["a", "b", "c", ""]),
        (" a ", [" a "]),
        ("id: 7\nevent: done", ["id: 7", "event: done"]),
    ],
)
def test_each_line_of_the_data_has_a_field_of_its_own(data: str, lines: list[str]) -> None:
    written = "".join(f"data: {line}\n" for line in lines)
    assert event("output", data, "1") == f"id: 1\nevent: output\n{written}\n".encode()


def test_nothing_that_pythons_client_takes_for_a_line_end_stands_in_a_line() -> None:
    every_one = "a\v\f\x1c\x1d\x1e\x85\u2028\u2029b"
    written = event("output", every_one, "1").decode()
    assert written.splitlines() == written.split("\n")[:-1]


def test_an_end_says_why() -> None:
    assert b"event: done\ndata: {}\n\n" in done(Position())
    assert b'data: {"reason":"canceled"}\n' in done(Position(), "canceled")
    failed = broken_off(Position(), "no\nluck").decode()
    assert 'event: error\ndata: {"detail":"no\\nluck"}\n\n' in failed
    assert failed.endswith('event: done\ndata: {"reason":"error"}\n\n')


@pytest.mark.parametrize(
    ("output", "chunks", "expected"),
    [
        (None, "text", []),
        ("ab", "text", ["ab"]),
        (["a", "b"], "text", ["a", "b"]),
        ([{"a": 1}, "b"], "items", [{"a": 1}, "b"]),
        (["blob:a", "blob:b"], None, ["blob:a", "blob:b"]),
        ([0.5, 1], None, [[0.5, 1]]),
        ({"labels": []}, None, [{"labels": []}]),
    ],
)
def test_an_output_is_told_in_the_pieces_that_it_came_in(
    output: Any, chunks: Any, expected: list[Any]
) -> None:
    assert list(pieces(output, chunks)) == expected


def test_values_that_are_no_texts_are_json_and_half_characters_question_marks() -> None:
    assert text_of({"a": ["ä", None]}) == '{"a":["ä",null]}'
    assert text_of("a\ud83d") == "a?"
