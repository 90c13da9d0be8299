"""The store of files does the same in a directory and in a bucket."""

from __future__ import annotations

import threading
import time
from io import BytesIO
from pathlib import Path

import pytest

from cli.embedded import free_port
from db.blobs import (
    BlobNotFound,
    Blobs,
    BlobStoreUnavailable,
    InvalidKey,
    folder_of,
    is_key,
    key_of,
    media_type_of,
    with_extension,
)
from db.ids import new_id
from db.settings import BlobSettings

KEY = "predictions/01abc/01abcdef/1/out-0.png"


def store(url: str | Path) -> Blobs:
    return Blobs(BlobSettings(blob_store=str(url), _env_file=None))


@pytest.fixture(params=["directory", "bucket"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    """An empty store."""
    if request.param == "directory":
        return store(tmp_path / "blobs")
    return store(request.getfixturevalue("bucket") + "/some/prefix")


@pytest.mark.slow
def test_what_is_stored_is_read_whole_or_in_part(blobs: Blobs) -> None:
    blobs.put(KEY, b"0123456789")
    assert blobs.size_bytes(KEY) == 10
    assert blobs.read(KEY) == b"0123456789"
    assert blobs.read(KEY, 2, 5) == b"234"
    assert blobs.read(KEY, 8) == b"89"


@pytest.mark.slow
@pytest.mark.parametrize("size", [0, 3, 20_000_000])
def test_what_is_stored_from_a_file_is_the_same(blobs: Blobs, size: int) -> None:
    content = bytes(range(256)) * (size // 256) + b"end"[: size % 256]
    blobs.put_from(KEY, BytesIO(content))
    assert blobs.size_bytes(KEY) == len(content)
    assert blobs.read(KEY) == content


class Broken(BytesIO):
    """A file that cannot be read to its end."""

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell() > 10_000_000:
            raise OSError("the disk has gone")
        return super().read(size)


@pytest.mark.slow
def test_what_cannot_be_read_to_its_end_is_not_stored(blobs: Blobs) -> None:
    with pytest.raises(BlobStoreUnavailable, match="the disk has gone"):
        blobs.put_from(KEY, Broken(bytes(20_000_000)))
    with pytest.raises(BlobNotFound):
        blobs.size_bytes(KEY)


@pytest.mark.slow
def test_an_empty_file_is_a_file(blobs: Blobs) -> None:
    blobs.put(KEY, b"")
    assert (blobs.size_bytes(KEY), blobs.read(KEY)) == (0, b"")


@pytest.mark.slow
def test_what_is_not_there_is_not_found_nor_is_a_folder(blobs: Blobs) -> None:
    blobs.put(KEY, b"x")
    for missing in ("predictions/01abc/01abcdef/1/out-1.png", "predictions/01abc", "nothing"):
        with pytest.raises(BlobNotFound):
            blobs.size_bytes(missing)
    with pytest.raises(BlobNotFound):
        blobs.read("predictions/01abc/01abcdef/2/out-0.png")


@pytest.mark.slow
def test_folders_tell_what_is_in_them(blobs: Blobs) -> None:
    assert (blobs.names(), blobs.names("predictions")) == ([], [])
    for key in ("predictions/b/x/1/o", "predictions/a/y/1/o", "predictions/a/y/1/n", "inputs/a/z/o"):
        blobs.put(key, b"x")
    assert blobs.names() == ["inputs", "predictions"]
    assert blobs.names("predictions") == ["a", "b"]
    assert blobs.names("predictions/a/y/1") == ["n", "o"]


@pytest.mark.slow
def test_deleting_a_folder_leaves_its_neighbours(blobs: Blobs) -> None:
    for key in ("predictions/a/x/1/o", "predictions/a/x/2/o", "predictions/a/xx/1/o"):
        blobs.put(key, b"x")
    blobs.delete("predictions/a/x/1")
    assert blobs.names("predictions/a/x") == ["2"]
    blobs.delete("predictions/a/x")
    blobs.delete("predictions/a/x")
    assert blobs.names("predictions/a") == ["xx"]
    blobs.delete("predictions")
    assert blobs.names() == []


@pytest.mark.parametrize(
    "key",
    [
        "",
        "..",
        "../x",
        "a/../b",
        "/etc/passwd",
        "a//b",
        "a/",
        ".hidden",
        "a/.b",
        "a\n",
        "a b",
        "ä",
        "a" * 600,
    ],
)
def test_no_key_leads_out_of_the_store(key: str, tmp_path: Path) -> None:
    blobs = store(tmp_path / "blobs")
    assert not is_key(key)
    for use in (lambda: blobs.put(key, b"x"), lambda: blobs.read(key), lambda: blobs.delete(key)):
        with pytest.raises(InvalidKey):
            use()


def test_a_reader_finds_all_of_a_file_or_nothing(tmp_path: Path) -> None:
    blobs = store(tmp_path)
    contents = [letter * 2_000_000 for letter in (b"a", b"b")]
    done = threading.Event()

    def write() -> None:
        for number in range(20):
            blobs.put(KEY, contents[number % 2])
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = set()
    while not done.is_set():
        try:
            seen.add(blobs.read(KEY))
        except BlobNotFound:
            assert not seen
    writer.join()
    assert seen <= set(contents)
    assert [path.name for path in (tmp_path / KEY).parent.iterdir()] == ["out-0.png"]


def test_a_store_that_refuses_says_so(tmp_path: Path) -> None:
    (tmp_path / "blobs").write_text("no directory")
    with pytest.raises(BlobStoreUnavailable):
        store(tmp_path / "blobs").put(KEY, b"x")


@pytest.mark.slow
def test_a_bucket_that_is_away_costs_no_more_than_seconds(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BlobStoreUnavailable, match="no such bucket"):
        store("s3://no-such-bucket").put(KEY, b"x")
    with pytest.raises(BlobStoreUnavailable, match="no such bucket"):
        store("s3://no-such-bucket").put_from(KEY, BytesIO(b"x"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    began = time.monotonic()
    with pytest.raises(BlobStoreUnavailable):
        store(bucket).put(KEY, b"x")
    assert time.monotonic() - began < 10


def test_a_folder_is_of_one_prediction_and_sorts_by_its_age() -> None:
    older, newer = new_id(), new_id()
    assert folder_of("predictions", older) < folder_of("predictions", newer)
    reference = f"blob:{folder_of('predictions', older)}/1/out.png"
    assert key_of(reference, "predictions", older) == reference.removeprefix("blob:")
    assert key_of(reference, "predictions", newer) is None
    assert key_of(reference, "inputs", older) is None
    assert key_of(reference.removeprefix("blob:"), "predictions", older) is None
    assert key_of(f"blob:{folder_of('predictions', older)}/../x", "predictions", older) is None


def test_a_name_tells_the_type_and_gets_an_extension_where_it_does_not() -> None:
    assert media_type_of("a/b.PNG") == "image/png"
    assert media_type_of("page.html") == "application/octet-stream"
    assert with_extension("out.jpeg", "image/jpeg") == "out.jpeg"
    assert with_extension("out", "image/jpeg") == "out.jpg"
    assert with_extension("out.bin", "chemical/x-xyz") == "out.bin"


@pytest.mark.parametrize("value", ["gs://bucket", "s3://", "http://example.com/x", ""])
def test_only_directories_and_buckets_are_stores(value: str) -> None:
    with pytest.raises(ValueError, match="blob_store"):
        BlobSettings(blob_store=value, _env_file=None)
