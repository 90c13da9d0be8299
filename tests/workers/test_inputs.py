"""Files of inputs in a lane: from wherever they are, several at once, and a bad one fails alone."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from db.blobs import Blobs, BlobStoreUnavailable
from db.settings import BlobSettings
from db.states import FailureCode
from model_types.media import AudioInput, ImageInput, MaskInput, UnusableFile
from tests.model_types.media.files import encoded, flag, recorded, tone
from tests.workers.receivers import answer, receiver, serve
from tests.workers.workshop import Workshop
from workers.input_settings import InputSettings
from workers.inputs import AHEAD, InputFiles

PNG = encoded(flag())
PREDICTION = "01abcdef"


class Input(BaseModel):
    """An input with files of every kind."""

    text: str = ""
    image: ImageInput | None = None
    images: list[ImageInput] = []
    mask: MaskInput | None = None
    audio: AudioInput | None = None


def data_uri(data: bytes, media_type: str = "image/png") -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(BlobSettings(blob_store=str(tmp_path / "blobs"), _env_file=None))


@pytest.fixture
def open_files(blobs: Blobs) -> Iterator[Callable[..., InputFiles]]:
    """Opens loaders of files: `open_files(max_input_bytes=2000)`."""
    with ExitStack() as cleanup:

        def make(**settings: Any) -> InputFiles:
            files = InputFiles(InputSettings(**settings, _env_file=None), blobs)
            cleanup.callback(files.close)
            return files

        yield make


@pytest.fixture
def fetching(open_files: Callable[..., InputFiles]) -> InputFiles:
    """A loader that may fetch from this machine."""
    return open_files(allow_remote_inputs=True, input_allow_cidrs="127.0.0.0/8,::1/128")


def load(files: InputFiles, **fields: Any) -> Input:
    """One input with its files in place."""
    value = Input(**fields)
    (loading,) = files.load([(PREDICTION, value)])
    loading.wait()
    return value


def content(file: Any) -> Any:
    return file.content


def test_every_kind_of_file_is_what_engines_are_promised(
    open_files: Callable[..., InputFiles], blobs: Blobs
) -> None:
    blobs.put("inputs/01abc/01abcdef/0.png", PNG)
    value = load(
        open_files(),
        image="blob:inputs/01abc/01abcdef/0.png",
        images=[data_uri(PNG), base64.b64encode(PNG).decode()],
        mask=data_uri(PNG),
        audio=data_uri(recorded(tone(0.5)), "audio/wav"),
    )
    assert (content(value.image).mode, content(value.image).size) == ("RGB", (40, 20))
    assert [content(image).size for image in value.images] == [(40, 20), (40, 20)]
    assert content(value.mask).mode == "L"
    assert content(value.audio).seconds == pytest.approx(0.5, abs=0.01)


def test_an_input_without_files_waits_for_nothing(open_files: Callable[..., InputFiles]) -> None:
    assert load(open_files(), text="hello").text == "hello"


def test_a_remote_file_is_fetched_where_that_is_allowed(fetching: InputFiles) -> None:
    with receiver(serve(PNG)) as here:
        value = load(fetching, image=here.url)
    assert content(value.image).size == (40, 20)


@pytest.mark.slow
def test_the_files_of_a_batch_are_fetched_at_the_same_time(fetching: InputFiles) -> None:
    together = threading.Barrier(AHEAD, timeout=10)

    def respond(handler: BaseHTTPRequestHandler, number: int) -> None:
        together.wait()
        serve(PNG)(handler, number)

    with receiver(respond) as here:
        values = [Input(image=f"{here.url}/{number}") for number in range(AHEAD)]
        for loading in fetching.load((PREDICTION, value) for value in values):
            loading.wait()
    assert [content(value.image).size for value in values] == [(40, 20)] * AHEAD
    assert len(here.requests) == AHEAD


@pytest.mark.slow
def test_no_more_than_a_few_inputs_are_loaded_ahead(fetching: InputFiles) -> None:
    with receiver(serve(PNG)) as here:
        urls = [f"{here.url}/{number}" for number in range(3 * AHEAD)]
        loading = fetching.load((PREDICTION, Input(image=url)) for url in urls)
        next(loading).wait()
        assert len(here.requests) <= AHEAD + 1
        for each in loading:
            each.wait()
    assert len(here.requests) == 3 * AHEAD


@pytest.mark.parametrize(
    ("fields", "because"),
    [
        ({"image": "https://example.com/a.png"}, r"input\.image is a URL, and this server fetches none"),
        ({"image": "blob:inputs/01abc/01abcdef/9.png"}, r"input\.image is not kept here any more"),
        (
            {"image": "blob:inputs/01abc/01abcdeg/0.png"},
            r"input\.image is not a file of this prediction's own",
        ),
        ({"image": "blob:inputs/01abc/01abcdef/../../x"}, r"input\.image is not a file of this prediction's"),
        ({"image": "/etc/passwd.png"}, r"input\.image must be an http\(s\) URL, a data: URI"),
        ({"images": [data_uri(PNG), data_uri(b"x")]}, r"input\.images\.1 is not an image"),
        ({"audio": data_uri(PNG)}, r"input\.audio is not audio"),
        ({"image": data_uri(PNG[:-30])}, r"input\.image is a broken or incomplete image"),
    ],
)
def test_what_is_wrong_with_a_file_names_its_field(
    open_files: Callable[..., InputFiles], fields: dict[str, Any], because: str
) -> None:
    with pytest.raises(UnusableFile, match=because):
        load(open_files(), **fields)


def test_limits_are_those_of_the_settings(open_files: Callable[..., InputFiles]) -> None:
    narrow = open_files(max_input_bytes=2000, max_image_pixels=799, max_audio_seconds=0.01)
    with pytest.raises(UnusableFile, match=r"input\.image has 40 by 20 pixels"):
        load(narrow, image=data_uri(PNG))
    with pytest.raises(UnusableFile, match=r"input\.audio is larger than 1\.953 KiB"):
        load(narrow, audio=data_uri(recorded(tone(0.1))))
    with pytest.raises(UnusableFile, match=r"input\.audio lasts longer than 0\.01 seconds"):
        load(narrow, audio=data_uri(recorded(tone(0.02, rate=8000), 8000)))


def test_remote_trouble_is_told_without_what_the_other_side_says(fetching: InputFiles) -> None:
    with receiver(answer(404)) as here, pytest.raises(UnusableFile) as refused:
        load(fetching, image=here.url)
    assert (
        str(refused.value) == f"input.image cannot be fetched: 127.0.0.1:{here.port} answered with status 404"
    )
    with pytest.raises(UnusableFile, match=r"input\.image must not lead to 169\.254\.169\.254"):
        load(fetching, image="http://169.254.169.254/latest/meta-data/")


def test_a_remote_file_that_is_too_large_is_not_read_to_its_end(
    open_files: Callable[..., InputFiles],
) -> None:
    files = open_files(allow_remote_inputs=True, input_allow_cidrs="127.0.0.0/8", max_input_bytes=1024)
    with receiver(serve(bytes(5000))) as here, pytest.raises(UnusableFile, match="larger than 1 KiB"):
        load(files, image=here.url)


def test_audio_and_images_from_elsewhere_have_limits_of_their_own(
    open_files: Callable[..., InputFiles],
) -> None:
    files = open_files(
        allow_remote_images=True,
        input_allow_cidrs="127.0.0.0/8",
        max_remote_image_bytes=1024,
        max_audio_bytes=2048,
        max_input_bytes=4096,
    )
    padded = PNG + bytes(3000 - len(PNG))
    with receiver(serve(padded)) as here, pytest.raises(UnusableFile, match="larger than 1 KiB"):
        load(files, image=here.url)
    assert content(load(files, image=data_uri(padded)).image).size == (40, 20)
    with pytest.raises(UnusableFile, match=r"input\.audio is larger than 2 KiB"):
        load(files, audio=data_uri(recorded(tone(0.1))))


@pytest.mark.slow
def test_fetching_takes_no_longer_than_its_setting(open_files: Callable[..., InputFiles]) -> None:
    released = threading.Event()

    def respond(handler: BaseHTTPRequestHandler, number: int) -> None:
        released.wait(10)
        handler.send_error(503)

    files = open_files(allow_remote_images=True, input_allow_cidrs="127.0.0.0/8", remote_image_timeout=0.2)
    with receiver(respond) as here:
        with pytest.raises(UnusableFile, match="did not answer in time"):
            load(files, image=here.url)
        released.set()


def test_a_store_that_is_away_is_not_the_inputs_fault(tmp_path: Path) -> None:
    blocked = tmp_path / "blobs"
    blocked.write_text("a file where the store's directory should be")
    store = Blobs(BlobSettings(blob_store=str(blocked), _env_file=None))
    files = InputFiles(InputSettings(_env_file=None), store)
    with pytest.raises(BlobStoreUnavailable):
        load(files, image="blob:inputs/01abc/01abcdef/0.png")
    files.close()


def test_one_bad_file_fails_alone(open_workshop: Callable[..., Workshop]) -> None:
    workshop = open_workshop(v={"max_batch": 4})
    workshop.submit("warm")
    workshop.serve()
    workshop.submit("good", image=data_uri(PNG))
    workshop.submit("bad", image=data_uri(PNG[:-30]))
    workshop.submit("none")
    workshop.serve()
    ended = workshop.ended()
    assert [ended[name][0] for name in ("good", "none")] == ["succeeded", "succeeded"]
    status, _, failure, error = ended["bad"]
    assert (status, failure) == ("failed", FailureCode.INVALID_INPUT)
    assert error is not None
    assert error.startswith("input.image is a broken or incomplete image")
    assert workshop.journal.of("image") == [(40, 20)]
    assert workshop.batches()[-1] == ["good", "none"]
