"""Files by replicate 1.0 where the server is behind TLS: outputs are FileOutputs then."""

from __future__ import annotations

import os
from pathlib import Path

import replicate
from replicate.helpers import FileOutput

INPUT = {"text": "a file", "file": True}


def test_an_output_file_is_read_and_iterated_over() -> None:
    """The client sends its token along, and follows no redirect."""
    [output] = replicate.run("demo/echo", input=INPUT)
    assert isinstance(output, FileOutput)
    assert output.url.startswith("https://")
    assert output.read() == b"a file"
    assert b"".join(output) == b"a file"


def test_the_stream_of_a_file_is_a_file_output() -> None:
    first = next(iter(replicate.stream("demo/echo", input=INPUT)))
    assert first.data.read() == b"a file"


def test_a_file_that_was_uploaded_over_https_is_an_input() -> None:
    assert replicate.run("demo/digits", input={"image": Path(os.environ["PICTURE"])})[0]["label"] == "0"
