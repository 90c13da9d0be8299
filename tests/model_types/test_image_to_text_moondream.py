"""Moondream: a checkpoint that brings its own code, which runs only where it is trusted."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from model_types.base import ModelUnavailable, VersionSpec
from model_types.image_to_text import INFO
from model_types.image_to_text.moondream import Moondream
from model_types.media.fields import InputFile
from model_types.trust import Trust, digest_of
from tests.model_types import tiny_moondream

# Torch alone takes seconds to load.
pytestmark = pytest.mark.slow

CODE = "modeling_tiny_moondream.py"
# As later revisions answer: one question at a time, drawing from the process's own random numbers.
QUERYING = """

class Querying(TinyMoondream):
    def query(self, image, question, settings={"max_tokens": 8, "temperature": 0}):
        (answer,) = self.batch_answer([image], [question], self.words, max_new_tokens=settings["max_tokens"])
        luck = int(torch.rand(()) * 1000) if settings["temperature"] else ""
        return {"answer": f" {answer} {luck}"}
"""


def version(path: Path | str, *allowed: str, **options: Any) -> VersionSpec:
    return VersionSpec(
        id="1", model="a/b", model_type="image-to-text", engine="moondream", path=str(path),
        options={"threads": 1, **options}, trust=Trust(allowed),
    )  # fmt: skip


def loaded(spec: VersionSpec) -> Moondream:
    engine = Moondream()
    engine.info = INFO
    engine.load(spec, "cpu")
    return engine


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint of this test's own, to be damaged."""
    place = tmp_path / "tiny-moondream"
    place.mkdir()
    tiny_moondream.build(place)
    return place


@pytest.fixture(scope="module")
def moondream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moondream]:
    place = tmp_path_factory.mktemp("moondream")
    tiny_moondream.build(place)
    engine = loaded(version(place, str(place)))
    yield engine
    engine.unload()


def asked(colour: str, prompt: str | None = None, **fields: Any) -> dict[str, Any]:
    image = InputFile("image", content=Image.new("RGB", (30, 20), colour))
    return {"image": image, "prompt": prompt, "max_new_tokens": 8, **fields}


def run(engine: Moondream, *values: dict[str, Any]) -> list[Any]:
    return list(engine.predict([engine.prepare(value) for value in values]))


def test_the_answer_depends_on_the_image_and_the_prompt(moondream: Moondream) -> None:
    assert run(
        moondream,
        asked("red", "Which colour is it?"),
        asked("blue", "colour?"),
        asked("blue", "Describe what you see, in a few words."),
        asked("lime"),
    ) == ["red", "blue", "a blue thing", "a green thing"]


def test_limits_stops_and_seeds_are_each_row_s_own(moondream: Moondream) -> None:
    sampled = asked("red", temperature=2, seed=5, max_new_tokens=20)
    assert run(moondream, asked("blue", max_new_tokens=2), asked("blue", stop="thing"), sampled) == [
        "a blue",
        "a blue",
        *run(moondream, sampled),
    ]
    assert len(set(run(moondream, *({**sampled, "seed": seed} for seed in range(6))))) > 1


def test_an_answer_is_told_while_it_is_written(moondream: Moondream) -> None:
    session = moondream.session()
    for key, colour in (("0", "blue"), ("1", "red")):
        session.add(key, moondream.prepare(asked(colour, stop="thing" if colour == "red" else None)))
    heard: list[tuple[str, str]] = []
    session.listen("0", lambda _, chunk: heard.append(("0", chunk)))
    session.listen("1", lambda _, chunk: heard.append(("1", chunk)))
    assert session.step() == {"0": "a blue thing", "1": "a red"}
    assert heard == [("0", "a"), ("1", "a"), ("0", " blue"), ("1", " red"), ("0", " thing")]


def test_what_has_been_cancelled_stops_at_the_next_token(moondream: Moondream) -> None:
    cancelled, other = moondream.prepare(asked("red")), moondream.prepare(asked("blue"))
    moondream.cancel(cancelled)
    assert list(moondream.predict([cancelled, other])) == ["a", "a blue thing"]
    # Its code does not tell how many tokens that were.
    assert moondream.metrics(other) == {}


def test_it_looks_at_one_image(moondream: Moondream) -> None:
    image = InputFile("image", content=Image.new("RGB", (9, 9)))
    with pytest.raises(ValueError, match="one image at a time"):
        moondream.prepare({"images": [image, image]})


def test_what_no_file_holds_is_computed(moondream: Moondream, folder: Path) -> None:
    """Transformers itself refuses such code, or leaves its tables as the memory was."""
    table = moondream._family.model.text_model.earlier
    assert torch.equal(table, torch.tril(torch.ones_like(table)))
    with pytest.raises(AttributeError, match="all_tied_weights_keys"):
        AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True)


def test_a_dtype_holds_for_weights_and_tables(folder: Path) -> None:
    engine = loaded(version(folder, str(folder), dtype="bfloat16"))
    assert engine._family.model.text_model.earlier.dtype == torch.bfloat16
    assert run(engine, asked("red")) == ["a red thing"]


def leaving_a_trace(folder: Path) -> Path:
    """Have the folder's code make a file when it runs."""
    trace = folder.parent / "trace"
    code = folder / CODE
    code.write_text(f"{code.read_text()}\n\nopen({str(trace)!r}, 'w').close()\n")
    return trace


@pytest.mark.parametrize("options", [{}, {"trust": ["/"], "trusted_models": "/", "trust_remote_code": True}])
def test_code_that_nobody_trusts_does_not_run(folder: Path, options: dict[str, Any]) -> None:
    trace = leaving_a_trace(folder)
    with pytest.raises(ModelUnavailable, match=r"needs code of its own.*adding .* to TRUSTED_MODELS"):
        loaded(version(folder, str(folder.parent / "tiny-moon"), **options))
    assert not trace.exists()


def test_trusted_code_runs(folder: Path) -> None:
    trace = leaving_a_trace(folder)
    assert run(loaded(version(folder, str(folder.parent))), asked("red")) == ["a red thing"]
    assert trace.exists()


def test_each_folder_runs_its_own_code(moondream: Moondream, folder: Path) -> None:
    code = folder / CODE
    code.write_text(code.read_text().replace("text.strip() for", "text.upper() for"))
    assert run(loaded(version(folder, str(folder))), asked("red")) == ["A RED THING"]
    assert run(moondream, asked("red")) == ["a red thing"]


def test_a_digest_trusts_these_files_and_no_others(folder: Path) -> None:
    digest = digest_of(folder)
    assert run(loaded(version(folder, digest)), asked("blue")) == ["a blue thing"]
    trace = leaving_a_trace(folder)
    with pytest.raises(ModelUnavailable, match=f"{digest_of(folder)} to TRUSTED_MODELS"):
        loaded(version(folder, digest))
    assert not trace.exists()


def test_a_repository_needs_a_revision() -> None:
    with pytest.raises(ModelUnavailable, match="vikhyatk/moondream2 is trusted only with a revision"):
        loaded(version("vikhyatk/moondream2", "vikhyatk/moondream2"))


def elsewhere(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"]["AutoModelForCausalLM"] = "evil/code--modeling.Model"
    (folder / "config.json").write_text(json.dumps(config))


def without_a_weight(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["text_model.follows.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def without_numbers(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["text_model.suggests.weight"][0, 0] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def without_an_answer(folder: Path) -> None:
    code = folder / CODE
    code.write_text(code.read_text().replace("def batch_answer", "def answer"))


def with_a_mistake(folder: Path) -> None:
    (folder / CODE).write_text("import a_library_that_is_not_there")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (elsewhere, "asks for the code of another repository"),
        (without_a_weight, "lack text_model.follows.weight"),
        (without_numbers, "text_model.suggests.weight .* has not been initialised"),
        (without_an_answer, "has neither batch_answer nor query"),
        (with_a_mistake, "cannot be loaded: .*a_library_that_is_not_there"),
    ],
)
def test_what_keeps_trusted_code_from_serving_is_named(
    folder: Path, damage: Callable[[Path], None], reason: str
) -> None:
    damage(folder)
    with pytest.raises(ModelUnavailable, match=reason) as unavailable:
        loaded(version(folder, str(folder)))
    assert "\n" not in str(unavailable.value)


def querying(folder: Path, more_code: str) -> Moondream:
    """An engine of a model that has `query`."""
    code = folder / CODE
    code.write_text(code.read_text() + more_code)
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"]["AutoModelForCausalLM"] = f"{CODE.removesuffix('.py')}.Querying"
    (folder / "config.json").write_text(json.dumps(config))
    engine = loaded(version(folder, str(folder)))
    engine._family.model.words = tiny_moondream.tokenizer()
    return engine


def test_later_revisions_answer_one_question_at_a_time(folder: Path) -> None:
    engine = querying(folder, QUERYING)
    engine.warm_up()
    assert run(engine, asked("red", "colour?"), asked("blue"), asked("lime", max_new_tokens=2)) == [
        "red", "a blue thing", "a green",
    ]  # fmt: skip
    first, second, other = run(engine, *(asked("red", temperature=1, seed=seed) for seed in (1, 1, 2)))
    assert first == second != other
    cancelled = engine.prepare(asked("red"))
    engine.cancel(cancelled)
    assert list(engine.predict([cancelled])) == [""]
    with pytest.raises(ValueError, match="cannot be told a top_k"):
        engine.prepare(asked("red", top_k=3))


def test_a_revision_without_settings_takes_none(folder: Path) -> None:
    engine = querying(folder, QUERYING.replace("settings", "_"))
    engine.warm_up()
    assert run(engine, asked("red")) == ["a red thing"]
    with pytest.raises(ValueError, match="cannot be told how to choose"):
        engine.prepare(asked("red", temperature=1))
