"""Files by replicate 1.0: uploads, inputs and outputs."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
from pathlib import Path

import pytest
import replicate
from replicate.exceptions import ReplicateError
from replicate.helpers import FileOutput

PICTURE = Path(os.environ.get("PICTURE", ""))


def test_a_file_is_created_found_listed_and_deleted() -> None:
    content = b"some bytes"
    file = replicate.files.create(
        io.BytesIO(content), filename="a.txt", content_type="text/plain", metadata={"colour": "blue"}
    )
    assert (file.name, file.content_type, file.size) == ("a.txt", "text/plain", len(content))
    assert file.checksums["sha256"] == hashlib.sha256(content).hexdigest()
    assert file.metadata == {"colour": "blue"}
    assert replicate.files.get(file.id) == file
    assert file.id in {listed.id for listed in replicate.files.list()}
    assert replicate.files.delete(file.id) is True
    with pytest.raises(ReplicateError) as refused:
        replicate.files.get(file.id)
    assert refused.value.status == 404


@pytest.mark.parametrize("strategy", ["url", "base64"])
def test_an_open_file_is_an_input(strategy: str) -> None:
    """Uploaded, it stands in the input as the URL of its description, not of its bytes."""
    with PICTURE.open("rb") as file:
        said = replicate.run("demo/digits", input={"image": file}, file_encoding_strategy=strategy)
    assert said[0]["label"] == "0"


def test_a_file_that_was_uploaded_before_is_an_input() -> None:
    uploaded = replicate.files.create(PICTURE)
    assert replicate.run("demo/digits", input={"image": uploaded.urls["get"]})[0]["label"] == "0"


def test_over_http_an_output_file_is_its_url() -> None:
    """The client makes FileOutputs of https: and data: alone."""
    [url] = replicate.run("demo/echo", input={"text": "a file", "file": True})
    assert str(url).startswith("http://")


def test_an_output_file_as_a_data_uri_is_read_and_iterated_over() -> None:
    client = replicate.Client(headers={"X-Augury-Output": "data"})
    [output] = client.run("demo/echo", input={"text": "a file", "file": True})
    assert isinstance(output, FileOutput)
    assert output.read() == b"a file"
    assert b"".join(output) == b"a file"
    assert asyncio.run(output.aread()) == b"a file"


def test_a_file_output_follows_no_redirect_and_sends_its_token() -> None:
    [url] = replicate.run("demo/echo", input={"text": "bytes at once", "file": True})
    assert FileOutput(url, replicate.default_client).read() == b"bytes at once"
