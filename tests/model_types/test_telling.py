"""Telling a text while it is written: what is told stands in the final text, and nothing of it changes."""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from model_types.text_generation.rows import Row
from model_types.text_generation.stopping import cut
from model_types.text_generation.telling import GrowingText
from model_types.text_generation.transformers import Transformers
from tests.model_types.test_text_generation import Passes, continuation

# Torch alone takes seconds to load.
pytestmark = pytest.mark.slow

END = 0
PROMPT = "Alice was beginning"


class Listener:
    """Keeps what it is told, in order."""

    def __init__(self) -> None:
        self.chunks: list[str] = []
        self.starts: list[int] = []

    def __call__(self, start: int, chunk: str) -> None:
        self.starts.append(start)
        self.chunks.append(chunk)

    @property
    def text(self) -> str:
        """What it has been told; every chunk stood where the one before ended."""
        assert self.starts == [len("".join(self.chunks[:place])) for place in range(len(self.chunks))]
        return "".join(self.chunks)


def decode(ids: list[int]) -> str:
    """Tokens that are bytes, as many tokenizers fall back to; the end of a text is a special one."""
    return bytes(token for token in ids if token != END).decode("utf-8", "replace")


def told(
    written: str | bytes, *, prompt: str = "so ", max_new_tokens: int = 10_000, **fields: Any
) -> Listener:
    """What is told of a row whose tokens are these bytes, one by one."""
    listener = Listener()
    ids = list(prompt.encode())
    row = Row(ids, max_new_tokens, tell=listener, **fields)
    text = GrowingText(row, decode, {END})
    for token in written if isinstance(written, bytes) else written.encode():
        text.add([token])
    return listener


def test_each_token_is_told_at_once() -> None:
    assert told("tea").chunks == ["t", "e", "a"]


def test_a_character_is_told_when_its_last_byte_is_there() -> None:
    assert told("é🐇!").chunks == ["é", "🐇", "!"]
    assert told("é🐇".encode()[:-1]).chunks == ["é"]


def test_bytes_that_are_no_characters_are_told_as_the_final_text_has_them() -> None:
    written = b"a\xff\xf0\x9f!\x80b"
    assert told(written).text == written.decode("utf-8", "replace")


def test_a_row_of_nothing_but_broken_characters_is_not_decoded_for_ever() -> None:
    decoded: list[int] = []

    def counting(ids: list[int]) -> str:
        decoded.append(len(ids))
        return decode(ids)

    text = GrowingText(Row([65], 10_000, tell=Listener()), counting, {END})
    for _ in range(1000):
        text.add([0xFF])
    assert len(decoded) < 100


def test_decoding_looks_at_a_window_however_long_the_text_is() -> None:
    longest = 0

    def measuring(ids: list[int]) -> str:
        nonlocal longest
        longest = max(longest, len(ids))
        return decode(ids)

    listener = Listener()
    text = GrowingText(Row([65], 10_000, tell=listener), measuring, {END})
    for _ in range(500):
        for token in "häß ".encode():
            text.add([token])
    assert listener.text == "häß " * 500
    assert longest < 50


def test_what_may_be_the_beginning_of_a_stop_string_is_held_back() -> None:
    listener = told("tea and ten and tend", stop=("tend", "never"))
    assert listener.text == "tea and ten and "
    assert listener.chunks[:3] == ["tea", " ", "a"]


def test_what_comes_after_the_end_is_not_told() -> None:
    assert told(b"tea" + bytes([END]) + b"!!!").text == "tea"
    assert told("teapot", max_new_tokens=3).text == "tea"
    assert told("tea stop pot", stop=("stop",)).text == "tea "


def test_a_prompt_that_ends_within_a_character_tells_nothing_piece_by_piece() -> None:
    listener = Listener()
    text = GrowingText(Row([0xC3], 10, tell=listener), decode, {END})
    for token in (0xA9, 65):
        text.add([token])
    assert listener.chunks == []


def test_a_stripped_text_has_its_beginning_and_no_blanks_at_its_ends() -> None:
    listener = told(" of  tea \n\n", beginning=" a cup", is_stripped=True)
    assert listener.text == "a cup of  tea"
    assert told("\n tea", is_stripped=True).chunks == ["t", "e", "a"]


def test_whatever_is_written_what_is_told_begins_the_final_text() -> None:
    draw = random.Random(1)
    for _ in range(300):
        written = "".join(draw.choices("ab é🐇\n", k=draw.randint(0, 30))).encode()
        written = written[draw.randint(0, 2) :] + bytes(draw.choices(range(1, 256), k=draw.randint(0, 3)))
        stops = tuple("".join(draw.choices("ab ", k=draw.randint(1, 4))) for _ in range(draw.randint(0, 2)))
        final = cut(written.decode("utf-8", "replace"), stops)
        assert final.startswith(told(written, stop=stops).text)
        assert final.strip().startswith(told(written, stop=stops, is_stripped=True).text)


def written(engine: Transformers, requests: Sequence[dict[str, Any]], listening: Sequence[int]) -> Any:
    """The texts of a pass over these requests, and what the listeners of some of them are told."""
    session = engine.session()
    listeners = {index: Listener() for index in listening}
    for index, request in enumerate(requests):
        session.add(str(index), engine.prepare(request))
        if index in listeners:
            session.listen(str(index), listeners[index])
    outcomes = dict(session.step())
    return [outcomes[str(index)] for index in range(len(requests))], listeners


@pytest.mark.parametrize("temperature", [0, 1.5])
def test_telling_changes_nothing_of_what_is_written(recital: Transformers, temperature: float) -> None:
    fields = {"temperature": temperature, "seed": 3, "max_new_tokens": 40}
    requests = [
        {"prompt": PROMPT, **fields},
        {"prompt": "There was", "stop": ["e", "very"], **fields},
        {"prompt": "zz", **fields, "max_new_tokens": 7},
        {"prompt": "Oh", **fields},
    ]
    expected, _ = written(recital, requests, [])
    texts, listeners = written(recital, requests, [0, 1, 2])
    assert texts == expected
    for index, listener in listeners.items():
        rest = texts[index].removeprefix(listener.text)
        assert listener.text + rest == texts[index]
        assert len(rest) <= len("very")
    assert len(listeners[0].chunks) > 20


def test_who_begins_to_listen_later_hears_what_has_come_already_at_once(recital: Transformers) -> None:
    session = recital.session()
    session.add("a", recital.prepare({"prompt": PROMPT, "temperature": 0, "max_new_tokens": 30}))
    listener = Listener()
    with Passes(recital, pause_at=20) as passes:
        thread = threading.Thread(target=session.step)
        thread.start()
        assert passes.paused.wait(timeout=30)
        session.listen("a", listener)
        passes.resume.set()
        thread.join(timeout=30)
    assert listener.text == continuation(PROMPT, 30)
    assert listener.chunks[0] == continuation(PROMPT, 20)
    assert len(listener.chunks) == 11


def test_rows_that_run_again_after_a_lack_of_memory_tell_from_the_beginning(recital: Transformers) -> None:
    session = recital.session()
    listener = Listener()
    request = {"prompt": PROMPT, "temperature": 0, "max_new_tokens": 20}
    for key in ("a", "b"):
        session.add(key, recital.prepare(request))
    session.listen("b", listener)
    handle = recital._model.register_forward_pre_hook(_out_of_memory_at(5))
    try:
        outcomes: dict[str, Any] = {}
        while len(session):
            outcomes |= session.step()
    finally:
        handle.remove()
        recital.__dict__.pop("padded_limit", None)
    assert outcomes == dict.fromkeys("ab", continuation(PROMPT, 20))
    begun_again = listener.starts.index(0, 1)
    assert "".join(listener.chunks[begun_again:]) == continuation(PROMPT, 20)


def _out_of_memory_at(token: int) -> Any:
    """A hook that lets the pass fail at this token, once."""
    seen = 0

    def hook(*_: object) -> None:
        nonlocal seen
        seen += 1
        if seen == token:
            raise RuntimeError("out of memory")

    return hook
