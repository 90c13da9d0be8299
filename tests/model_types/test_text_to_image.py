"""Images from prompts, from images and within masks: on a tiny Stable Diffusion with random weights."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from model_types import registry
from model_types.base import Failure, OutputFile, Session, VersionSpec
from model_types.media import InputFile
from model_types.text_to_image.diffusers import Diffusers
from model_types.text_to_image.generation import output_size
from model_types.text_to_image.schema import Input, cost
from tests.model_types import tiny_diffusion
from tests.model_types.pictures import pixels, same_images
from tests.stack import wait_until

pytestmark = pytest.mark.slow

STEPS = 3


@contextmanager
def loaded(folder: Path, **options: Any) -> Iterator[Diffusers]:
    spec = VersionSpec(
        id="v",
        model="test/tiny",
        model_type="text-to-image",
        engine="diffusers",
        path=str(folder),
        options={"threads": 1} | options,
    )
    engine = registry.engine(spec)
    assert isinstance(engine, Diffusers)
    engine.load(spec, "cpu")
    yield engine
    engine.unload()


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny-diffusion")
    tiny_diffusion.build(folder)
    return folder


@pytest.fixture(scope="session")
def artist(checkpoint: Path) -> Iterator[Diffusers]:
    with loaded(checkpoint) as engine:
        engine.warm_up()
        yield engine


def asked(**fields: Any) -> dict[str, Any]:
    """An input; images among its fields stand for files that have been decoded."""
    kinds = {"image": "image", "mask": "mask"}
    files = {
        name: InputFile(name, "mask" if name == "mask" else "image", content=fields.pop(name))
        for name in kinds
        if name in fields
    }
    return {"prompt": "a cat", "seed": 7, "num_inference_steps": STEPS} | fields | files


def draw(engine: Diffusers, **fields: Any) -> list[OutputFile]:
    (output,) = draw_together(engine, fields)
    return output


def draw_together(engine: Diffusers, *inputs: dict[str, Any]) -> list[list[OutputFile]]:
    outputs = engine.predict([engine.prepare(asked(**fields)) for fields in inputs])
    return [output for output in outputs if isinstance(output, list)]


def photo(width: int = 64, height: int = 64) -> Image.Image:
    """A gradient from dark to bright, left to right."""
    return Image.linear_gradient("L").rotate(90).resize((width, height)).convert("RGB")


def joined(engine: Diffusers, **inputs: dict[str, Any]) -> Session:
    session = engine.session()
    for key, fields in inputs.items():
        session.add(key, engine.prepare(asked(**fields)))
    return session


@contextmanager
def stepping(session: Session, outcomes: dict[str, Any]) -> Iterator[threading.Thread]:
    """The session steps meanwhile, once it has begun to draw; what comes out of it goes into `outcomes`."""
    thread = threading.Thread(target=lambda: outcomes.update(session.step()))
    thread.start()
    try:
        wait_until(lambda: any(session.progress().values()), 20, "a first step")
        yield thread
    finally:
        thread.join()


def test_an_image_has_the_asked_size_and_else_the_models_own(artist: Diffusers) -> None:
    (wide,) = draw(artist, width=96, height=72)
    assert (wide.name, wide.media_type) == ("out-0.png", "image/png")
    assert pixels(wide).shape == (72, 96, 3)
    (native,) = draw(artist)
    assert pixels(native).shape == (tiny_diffusion.NATIVE_SIDE_PIXELS, tiny_diffusion.NATIVE_SIDE_PIXELS, 3)


@pytest.mark.parametrize(
    ("output_format", "media_type", "begins"),
    [("png", "image/png", b"\x89PNG"), ("jpg", "image/jpeg", b"\xff\xd8"), ("webp", "image/webp", b"RIFF")],
)
def test_an_image_is_written_as_asked(
    artist: Diffusers, output_format: str, media_type: str, begins: bytes
) -> None:
    (file,) = draw(artist, output_format=output_format)
    assert (file.name, file.media_type) == (f"out-0.{output_format}", media_type)
    assert file.data.startswith(begins)


def test_a_lower_quality_takes_less_room(artist: Diffusers) -> None:
    ((best,), (worst,)) = (draw(artist, output_format="jpg", output_quality=of_100) for of_100 in (95, 5))
    assert len(worst.data) < len(best.data) / 2


def test_each_of_several_outputs_has_the_next_seed(artist: Diffusers) -> None:
    together = draw(artist, seed=20, num_outputs=3)
    assert [file.name for file in together] == ["out-0.png", "out-1.png", "out-2.png"]
    for index, file in enumerate(together):
        (alone,) = draw(artist, seed=20 + index)
        assert abs(pixels(file) - pixels(alone)).max() <= 1
    assert abs(pixels(together[0]) - pixels(together[1])).max() > 30


def test_without_a_seed_no_two_images_are_the_same(artist: Diffusers) -> None:
    assert not same_images(draw(artist, seed=None), draw(artist, seed=None))


@pytest.mark.parametrize(
    "change",
    [{"prompt": "a dog"}, {"negative_prompt": "a dog"}, {"guidance_scale": 1.5}, {"num_inference_steps": 4}],
    ids=str,
)
def test_what_is_asked_changes_the_image(artist: Diffusers, change: dict[str, Any]) -> None:
    assert not same_images(draw(artist), draw(artist, **change))


def test_the_less_strength_the_more_remains_of_the_image(artist: Diffusers) -> None:
    before = np.asarray(photo(), dtype=np.int16)
    little, much = (
        abs(pixels(draw(artist, image=photo(), strength=strength, num_inference_steps=10)[0]) - before).mean()
        for strength in (0.1, 1.0)
    )
    assert little < much


def test_an_image_gives_the_size_unless_another_one_is_asked_for(artist: Diffusers) -> None:
    (small,) = draw(artist, image=photo(300, 240), strength=0.5)
    assert pixels(small).shape == (64, 72, 3)
    (large,) = draw(artist, image=photo(96, 48), strength=0.5, width=128)
    assert pixels(large).shape == (64, 128, 3)


def test_what_the_mask_spares_stays_as_it_is(artist: Diffusers) -> None:
    mask = Image.new("L", (64, 64), 0)
    mask.paste(255, (16, 16, 48, 48))
    (file,) = draw(artist, image=photo(), mask=mask, strength=1.0)
    changed = abs(pixels(file) - np.asarray(photo(), dtype=np.int16)).max(axis=2)
    spared = np.asarray(mask) == 0
    assert changed[spared].max() == 0
    assert np.median(changed[~spared]) > 10


def test_images_that_cannot_share_a_pass_get_passes_of_their_own(artist: Diffusers) -> None:
    inputs: dict[str, dict[str, Any]] = {
        "first": {},
        "larger": {"width": 96},
        "second": {"prompt": "a dog", "num_outputs": 2},
        "quicker": {"num_inference_steps": 2},
        "freer": {"guidance_scale": 2},
        "negative": {"negative_prompt": "a dog"},
        "from an image": {"image": photo()},
        "from another": {"image": photo().rotate(90)},
    }
    session = artist.session()
    for key, fields in inputs.items():
        session.add(key, artist.prepare(asked(**fields)))
    passes: list[set[str]] = []
    outcomes: dict[str, Any] = {}
    while len(session):
        done = session.step()
        passes.append(set(done))
        outcomes |= done
    assert passes == [
        {"first", "second"},
        {"larger"},
        {"quicker"},
        {"freer"},
        {"negative"},
        {"from an image", "from another"},
    ]
    for key, fields in inputs.items():
        assert same_images(outcomes[key], draw(artist, **fields))


def test_a_pass_draws_no_more_than_fits_into_the_memory(checkpoint: Path) -> None:
    with loaded(checkpoint, pass_budget=2 * 64 * 64) as engine:
        session = joined(engine, a={}, b={}, c={}, d={"num_outputs": 4})
        assert sorted(list(session.step()) for _ in range(3)) == [["a", "b"], ["c"], ["d"]]


def test_a_pass_tells_how_far_it_has_come(artist: Diffusers) -> None:
    session = joined(artist, a={"num_inference_steps": 20})
    seen: list[float] = []
    assert session.progress() == {}
    with stepping(session, {}) as thread:
        while thread.is_alive() and (shares := session.progress()):
            seen.append(shares["a"])
    assert seen == sorted(seen)
    assert len(set(seen)) > 3
    assert set(seen) <= {step / 20 for step in range(21)}
    assert session.progress() == {}


def test_a_pass_ends_within_a_step_once_all_in_it_are_cancelled(artist: Diffusers) -> None:
    before = draw(artist)
    session = joined(artist, a={"num_inference_steps": 500}, b={"num_inference_steps": 500})
    outcomes: dict[str, Any] = {}
    with stepping(session, outcomes) as thread:
        session.cancel("a")
        session.cancel("b")
        thread.join(timeout=3)
        assert not thread.is_alive()
    assert outcomes == {}
    assert len(session) == 0
    assert same_images(draw(artist), before)


def test_a_pass_goes_on_for_those_who_are_left(artist: Diffusers) -> None:
    fields = {"num_inference_steps": 20}
    session = joined(artist, gone=fields, stays=fields)
    outcomes: dict[str, Any] = {}
    with stepping(session, outcomes):
        session.cancel("gone")
    assert list(outcomes) == ["stays"]
    assert same_images(outcomes["stays"], draw(artist, **fields))


def test_a_strength_that_leaves_no_step_is_refused(artist: Diffusers) -> None:
    with pytest.raises(ValueError, match=r"of 3 steps a strength of 0\.1 leaves none"):
        artist.prepare(asked(image=photo(), strength=0.1))


def test_what_the_safety_checker_refuses_fails(tmp_path: Path) -> None:
    tiny_diffusion.build(tmp_path, is_prudish=True)
    with loaded(tmp_path) as engine:
        (failure,) = engine.predict([engine.prepare(asked())])
    assert failure == Failure("unsafe_output", "The model's safety checker has refused what was drawn.")


def test_a_checkpoint_for_inpainting_does_only_that(tmp_path: Path) -> None:
    tiny_diffusion.build(tmp_path, unet_channels=9)
    with loaded(tmp_path) as engine:
        engine.warm_up()
        mask = Image.new("L", (64, 64), 255)
        assert pixels(draw(engine, image=photo(), mask=mask)[0]).shape == (64, 64, 3)
        for fields in ({}, {"image": photo()}):
            with pytest.raises(ValueError, match="only paints within a mask: give it an image and a mask"):
                engine.prepare(asked(**fields))


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"width": 100}, "width"),
        ({"height": 56}, "height"),
        ({"width": 4096}, "width"),
        ({"num_outputs": 5}, "num_outputs"),
        ({"mask": Image.new("L", (64, 64))}, "a mask needs the image"),
        ({"strength": 0}, "strength"),
        ({"prompt": ""}, "prompt"),
        ({"output_format": "bmp"}, "output_format"),
    ],
)
def test_what_cannot_be_drawn_is_refused_before_it_reaches_a_lane(fields: dict[str, Any], where: str) -> None:
    with pytest.raises(ValidationError, match=where):
        Input.model_validate(asked(**fields))


@pytest.mark.parametrize(
    ("width", "height", "shape", "expected"),
    [
        (None, None, None, (512, 512)),
        (768, None, None, (768, 512)),
        (None, None, (4000, 3000), (592, 440)),  # as many pixels as the model is used to, in the same shape
        (None, None, (300, 200), (304, 200)),  # not enlarged
        (1024, None, (400, 200), (1024, 512)),
        (None, 128, (400, 200), (256, 128)),
        (640, 640, (400, 200), (640, 640)),
        (64, None, (4000, 40), (64, 64)),
        (None, None, (20_000, 20), (2048, 64)),
    ],
)
def test_a_size_that_is_left_out_follows_from_the_model_and_the_image(
    width: int | None, height: int | None, shape: tuple[int, int] | None, expected: tuple[int, int]
) -> None:
    assert output_size(width, height, native_side=512, shape=shape) == expected


def test_the_cost_is_what_there_is_to_compute() -> None:
    one = cost(Input(prompt="a", width=512, height=512, num_inference_steps=30))
    assert one == 4 * 30
    assert cost(Input(prompt="a", width=512, height=512, num_inference_steps=30, num_outputs=3)) == 3 * one
    assert cost(Input(prompt="a", width=1024, height=512, num_inference_steps=15)) == one
    assert cost(Input(prompt="a", width=64, height=64, num_inference_steps=1)) == 1
