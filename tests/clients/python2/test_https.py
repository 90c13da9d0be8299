"""Files by replicate 2.0 where the server is behind TLS."""

from __future__ import annotations

import replicate


def test_an_output_file_is_read_and_iterated_over() -> None:
    """The client sends no token along."""
    [output] = replicate.run("demo/echo", input={"text": "a file", "file": True})
    assert isinstance(output, replicate.FileOutput)
    assert output.url.startswith("https://")
    assert output.read() == b"a file"
    assert b"".join(output) == b"a file"
