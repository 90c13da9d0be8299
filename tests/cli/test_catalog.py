"""The catalog: the shipped one is sound, one's own says what is wrong with it, and names choose entries."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.services.input_schema import InputValidator, normalise
from cli.catalog import (
    DEMO,
    NAMES_AND_PATHS,
    SHIPPED,
    Catalog,
    CatalogInvalid,
    Entry,
    NotInCatalog,
    WeightsMissing,
)
from cli.data_directory import DataDirectory
from cli.registration import catalog, selected
from docs.catalog import SCHEMA, schema
from model_types import registry
from model_types.options import VersionOptions

SHIPPED_ENTRIES = list(Catalog.load(SHIPPED))

SMOL = """
models:
  - name: acme/smol
    type: text-generation
    path: ./smol
    defaults: {temperature: 0.5, prompt: Once}
    options: {max_batch: 8, dtype: float32}
    engine_options: {attention: eager}
    ttl_seconds: 600
    warm_up: [{prompt: Hello}]
"""


def write(folder: Path, text: str) -> Path:
    file = folder / "models.yaml"
    file.write_text(text)
    return file


@pytest.mark.parametrize("entry", SHIPPED_ENTRIES, ids=lambda entry: entry.name)
def test_every_shipped_entry_can_be_registered(entry: Entry) -> None:
    if not entry.is_here():
        with pytest.raises(WeightsMissing):
            entry.registration()
        return
    body = entry.registration()
    info = registry.get(body["model_type"])
    assert body.get("engine", info.default_engine) in info.engines
    InputValidator(normalise(body.get("input_schema"), info), info)
    for value in body["options"].get("warm_up", ()):
        info.Input.model_validate(value)
    assert VersionOptions.model_validate(body["options"])
    assert body["description"]


def test_what_runs_code_or_pickles_says_that_it_needs_trust() -> None:
    risky = {entry.name for entry in SHIPPED_ENTRIES if entry.engine in ("moondream", "ultralytics")}
    assert risky == {entry.name for entry in SHIPPED_ENTRIES if entry.trust}


def test_demo_models_come_with_their_weights() -> None:
    for entry in Catalog.load(SHIPPED).select([DEMO]):
        assert entry.type == "echo" or list(Path(entry.registration()["model_path"]).glob("*.safetensors"))


def test_a_folders_readme_goes_along_and_a_repositorys_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("smol", "org/repo"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "README.md").write_text("# Smol")
    monkeypatch.chdir(tmp_path)
    [entry] = Catalog.load(write(tmp_path, SMOL))
    assert entry.registration()["readme"] == "# Smol"
    [elsewhere] = Catalog.load(write(tmp_path, SMOL.replace("./smol", "org/repo")))
    assert "readme" not in elsewhere.registration()


def test_an_entry_becomes_a_version(tmp_path: Path) -> None:
    [entry] = Catalog.load(write(tmp_path, SMOL))
    body = entry.registration("0" * 40)
    properties = body["input_schema"]["properties"]
    assert (properties["temperature"]["default"], properties["prompt"]["default"]) == (0.5, "Once")
    assert {name: body[name] for name in ("owner", "name", "model_path", "revision")} == {
        "owner": "acme",
        "name": "smol",
        "model_path": str(tmp_path / "smol"),
        "revision": "0" * 40,
    }
    assert body["options"] == {
        "max_batch": 8,
        "dtype": "float32",
        "attention": "eager",
        "ttl_seconds": 600,
        "warm_up": [{"prompt": "Hello"}],
    }


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("max_batch: 8", "max_batch: 0"), "acme/smol: options.max_batch: Input should be greater than 0"),
        (("max_batch: 8", "max_bach: 8"), "acme/smol: options.max_bach: Extra inputs are not permitted"),
        (("  type: ", "  tpye: "), "acme/smol: type: Field required; acme/smol: tpye: Extra inputs"),
        (("ttl_seconds: 600", "ttl_seconds: 600\n    pin: true"), "acme/smol: what is pinned has no ttl"),
        (("acme/smol", "smol"), "smol: name: String should match pattern"),
        (("models:", "modles:"), "models: Field required; modles: Extra inputs are not permitted"),
        (("[{prompt", "[{{prompt"), "is not YAML: while parsing"),
    ],
)
def test_what_is_wrong_with_a_catalog_is_told_with_entry_and_field(
    tmp_path: Path, change: tuple[str, str], told: str
) -> None:
    file = write(tmp_path, SMOL.replace(*change))
    with pytest.raises(CatalogInvalid) as refusal:
        Catalog.load(file)
    assert refusal.value.message.startswith(str(file))
    assert told in refusal.value.message


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("text-generation", "oracle"), "acme/smol: type: there is no model type 'oracle'"),
        (("path:", "engine: steam\n    path:"), "acme/smol: engine: must be one of: transformers."),
        (("temperature", "warmth"), "acme/smol: defaults.warmth: text-generation has no such input"),
    ],
)
def test_what_the_model_types_do_not_know_is_told_when_it_is_registered(
    tmp_path: Path, change: tuple[str, str], told: str
) -> None:
    [entry] = Catalog.load(write(tmp_path, SMOL.replace(*change)))
    with pytest.raises(CatalogInvalid) as refusal:
        entry.registration()
    assert refusal.value.message.startswith(told)


def test_a_name_that_stands_there_twice_is_refused(tmp_path: Path) -> None:
    twice = SMOL + SMOL.partition("models:")[2].replace("acme/smol", "Acme/Smol")
    with pytest.raises(CatalogInvalid, match="acme/smol: stands there twice"):
        Catalog.load(write(tmp_path, twice))


def test_names_choose_entries() -> None:
    shipped = Catalog.load(SHIPPED)

    def names(*patterns: str) -> list[str]:
        return [entry.name for entry in shipped.select(list(patterns))]

    assert names("gpt2", "GPT2") == ["openai-community/gpt2"]
    assert names("openai/whisper-tiny*") == ["openai/whisper-tiny", "openai/whisper-tiny.en"]
    assert {"demo/echo", "demo/recital", "BAAI/bge-m3"} <= set(names("demo/*", "BAAI/*"))
    assert shipped.find("whisper-tiny").name == "openai/whisper-tiny"
    for name in ("wisper-tiny", "openai/wisper-tiny"):
        with pytest.raises(NotInCatalog, match=r"did you mean (openai/)?whisper-tiny\?"):
            shipped.select([name])
    with pytest.raises(NotInCatalog, match="no model 'nothing/like-it'"):
        shipped.find("nothing/like-it")


@pytest.mark.slow
def test_ones_own_catalog_adds_to_the_shipped_one_and_goes_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = DataDirectory(tmp_path / "data")
    data.create()
    write(data.path, SMOL.replace("acme/smol", "openai-community/gpt2"))
    assert catalog(data).find("gpt2").ttl_seconds == 600
    write(tmp_path, SMOL)
    assert catalog(data).find("gpt2").ttl_seconds is None
    assert catalog(data).find("acme/smol").ttl_seconds == 600

    assert {entry.name for entry in selected(data)} >= {"demo/echo", "demo/recital"}
    monkeypatch.setenv("MODELS", "smol, openai/whisper-tiny")
    assert [entry.name for entry in selected(data)] == ["acme/smol", "openai/whisper-tiny"]
    assert [entry.name for entry in selected(data, ["gpt2"])] == ["openai-community/gpt2"]
    monkeypatch.setenv("MODELS_FILE", str(tmp_path / "missing.yaml"))
    with pytest.raises(CatalogInvalid, match=r"missing\.yaml cannot be read: No such file"):
        catalog(data)


def test_a_model_by_its_id_is_registered_at_the_revision_that_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = DataDirectory(tmp_path / "data")
    data.create()
    monkeypatch.setenv("MODEL_ID", "vikhyatk/moondream2")
    [entry] = selected(data)
    assert (entry.name, entry.version) == ("vikhyatk/moondream2", "1.0.0")
    monkeypatch.setenv("REVISION", "2025-01-09")
    monkeypatch.setenv("MODELS", "gpt2")
    bodies = {entry.name: entry.registration() for entry in selected(data)}
    pinned, other = bodies["vikhyatk/moondream2"], bodies["openai-community/gpt2"]
    assert (pinned["revision"], pinned["version"]) == ("2025-01-09", "2025-01-09")
    assert (other.get("revision"), other["version"]) == (None, "1.0.0")


def test_names_and_paths_in_config_model_config_json_are_models_of_texts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config").mkdir()
    (tmp_path / "models" / "vicuna").mkdir(parents=True)
    (tmp_path / NAMES_AND_PATHS).write_text(
        '{"vicuna_q2": "models/vicuna",\n\t"acme/smol": "org/smol", "gpt2": "org/gpt2"}'
    )
    data = DataDirectory(tmp_path / "data")
    [vicuna] = selected(data, ["vicuna_q2"])
    assert (vicuna.name, vicuna.type) == ("local/vicuna_q2", "text-generation")
    assert vicuna.registration()["model_path"] == str(tmp_path / "models/vicuna")
    assert vicuna.repository is None
    assert catalog(data).find("acme/smol").repository == "org/smol"
    assert {entry.name for entry in selected(data, ["gpt2"])} == {"openai-community/gpt2", "local/gpt2"}
    write(tmp_path, SMOL)
    assert catalog(data).find("acme/smol").ttl_seconds == 600
    for text, told in (("{", "is not JSON"), ("[1]", "must be an object of names and paths")):
        (tmp_path / NAMES_AND_PATHS).write_text(text)
        with pytest.raises(CatalogInvalid, match=rf"model_config\.json:? {told}"):
            catalog(data)


def test_weights_of_a_package_count_only_where_it_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "brought.py").write_text("from pathlib import Path\ndef folder(): return Path('/brought')\n")
    (tmp_path / "absent.py").write_text("def folder(): return None\n")
    text = "models:\n" + "".join(
        f"  - {{name: pack/{name}, type: text-generation, path: 'module:{name}'}}\n"
        for name in ("brought", "absent")
    )
    packed = Catalog.load(write(tmp_path, text))
    [entry] = packed.select(["pack/*"])
    assert entry.registration()["model_path"] == "/brought"
    with pytest.raises(WeightsMissing, match="pack/absent needs a package that is not installed"):
        packed.select(["pack/absent"])[0].registration()


def test_the_schema_for_editors_is_up_to_date() -> None:
    assert SCHEMA.read_text() == schema(), "run: python -m docs.catalog"


def test_the_example_in_the_documents_is_a_catalog(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs/models.md").read_text()
    example = text.partition("```yaml\n")[2].partition("```")[0]
    [entry] = Catalog.load(write(tmp_path, example))
    body, info = entry.registration(), registry.get(entry.type)
    for value in body["options"]["warm_up"]:
        InputValidator(normalise(body["input_schema"], info), info).validate(value)
