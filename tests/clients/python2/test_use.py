"""`use()` of replicate 2.0, which makes functions of models by their schemas."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import replicate

ALICE = {"prompt": "Alice was", "max_new_tokens": 32, "temperature": 0}


def test_a_model_that_streams_text_is_a_function_that_returns_it() -> None:
    recital = replicate.use("demo/recital")
    assert "beginning to" in recital(**ALICE)


def test_streaming_gives_the_text_piece_by_piece() -> None:
    recital = replicate.use("demo/recital", streaming=True)
    pieces = list(recital(**ALICE))
    assert len(pieces) > 1
    assert "".join(pieces) == replicate.use("demo/recital")(**ALICE)


def test_streaming_gives_what_there_is_while_the_model_goes_on() -> None:
    said = replicate.use("demo/echo", streaming=True)(text="one two three", sleep=1.2, steps=3)
    assert "".join(said) == "one two three"


def test_an_asynchronous_function_does_the_same() -> None:
    async def said() -> str:
        recital = replicate.use("demo/recital", use_async=True)
        return str(await recital(**ALICE))

    assert "beginning to" in asyncio.run(said())


def test_a_started_run_is_asked_for_its_output_and_logs() -> None:
    run = replicate.use("demo/echo").create(text="later", log="a line of the log")
    assert run.output() == "later"
    assert "a line of the log" in run.logs()


def test_a_path_is_an_input() -> None:
    digits = replicate.use("demo/digits")
    assert digits(image=Path(os.environ["PICTURE"]))[0]["label"] == "0"
