"""The catalog: models that Augury knows how to serve, the shipped ones and the operator's own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from difflib import get_close_matches
from fnmatch import fnmatchcase
from importlib import import_module
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cli.errors import Fault
from model_types import registry
from model_types.options import Residence, Tuning

SHIPPED = Path(__file__).parent / "models.yaml"
OWN_NAME = "models.yaml"
DEMO = "demo/*"
NAMES_AND_PATHS = Path("config/model_config.json")
# Who owns the models of that file, which names none.
LOCAL = "local"

# A path that begins so names a module whose `folder()` says where the model lies, or None.
_MODULE = "module:"
# What the server takes as a readme.
_MAX_README_LENGTH = 200_000
_NAME_PART = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"


class CatalogInvalid(Fault):
    """A catalog's file is not as it should be; the message names the entry and the field."""


class NotInCatalog(Fault):
    """No entry has this name."""


class WeightsMissing(Fault):
    """The entry's weights come with a package that is not installed."""


class Entry(Residence):
    """One model and how it is served."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(pattern=rf"^{_NAME_PART}/{_NAME_PART}$", description="owner/name.")
    type: str = Field(description="The model type, such as text-generation.")
    engine: str | None = Field(None, description="The type's default if left out.")
    path: str = Field(
        min_length=1,
        description="A repository of the Hugging Face Hub, or a folder; one that begins with a dot "
        "is looked for from this file.",
    )
    revision: str | None = Field(None, description="Branch, tag or commit of the repository.")
    version: str = Field("1.0.0", min_length=1, max_length=100, description="Your name for the version.")
    description: str = Field("", max_length=10_000, description="A sentence for those who choose a model.")
    hardware: str = Field("cpu", max_length=100, description="What it wants to run on, for people.")
    files: list[str] | None = Field(
        None,
        description="Patterns of the files to pull, when not all safetensors are wanted; "
        "empty where there are none.",
    )
    trust: str | None = Field(
        None, description="What TRUSTED_MODELS must allow before it can be loaded, for people."
    )
    defaults: dict[str, Any] = Field(
        default_factory=dict, description="Values of inputs that a prediction leaves out."
    )
    options: Tuning = Field(default_factory=Tuning, description="How it computes and batches.")
    engine_options: dict[str, Any] = Field(
        default_factory=dict, description="Options that only its engine knows."
    )

    @property
    def repository(self) -> str | None:
        """The repository that its weights are pulled from, if they are."""
        is_elsewhere = self.path.startswith(("/", _MODULE)) or self.files == []
        return None if is_elsewhere else self.path

    def all_options(self) -> dict[str, Any]:
        """The version's options, as they are registered."""
        residence = self.model_dump(include=set(Residence.model_fields), exclude_defaults=True)
        return {**self.options.model_dump(exclude_none=True), **residence, **self.engine_options}

    def is_here(self) -> bool:
        """Whether the package that brings its weights is installed, if it needs one."""
        return not self.path.startswith(_MODULE) or self._folder() is not None

    def registration(self, revision: str | None = None) -> dict[str, Any]:
        """What `POST /v1/models` takes. Raises `CatalogInvalid` and `WeightsMissing`."""
        owner, _, name = self.name.partition("/")
        body: dict[str, Any] = {
            "owner": owner,
            "name": name,
            "description": self.description,
            "model_type": self.type,
            "version": self.version,
            "model_path": self._place(),
            "hardware": self.hardware,
            "engine": self.engine,
            "revision": revision or self.revision,
            "input_schema": self._input_schema(),
            "options": self.all_options(),
        }
        given = {key: value for key, value in body.items() if value is not None}
        return {**about(Path(body["model_path"])), **given}

    def _place(self) -> str:
        if not self.path.startswith(_MODULE):
            return self.path
        folder = self._folder()
        if folder is None:
            raise WeightsMissing(f"{self.name} needs a package that is not installed.")
        return str(folder)

    def _folder(self) -> Path | None:
        folder: Path | None = import_module(self.path.removeprefix(_MODULE)).folder()
        return folder

    def _input_schema(self) -> dict[str, Any] | None:
        """The type's own schema with this entry's defaults in it; None where there are none."""
        try:
            info = registry.get(self.type)
        except registry.UnknownModelType as error:
            raise CatalogInvalid(f"{self.name}: type: {error}.") from None
        if self.engine is not None and self.engine not in info.engines:
            raise CatalogInvalid(f"{self.name}: engine: must be one of: {', '.join(info.engines)}.")
        if not self.defaults:
            return None
        schema = deepcopy(info.input_schema())
        for name, value in self.defaults.items():
            if name not in schema["properties"]:
                known = ", ".join(schema["properties"])
                raise CatalogInvalid(f"{self.name}: defaults.{name}: {info.name} has no such input; {known}.")
            schema["properties"][name]["default"] = value
        schema["required"] = [name for name in schema.get("required", ()) if name not in self.defaults]
        return schema


class Document(BaseModel):
    """A catalog's file."""

    model_config = ConfigDict(extra="forbid")

    models: list[Entry] = Field(description="The models, each by a name of its own.")


def about(folder: Path) -> dict[str, str]:
    """What is registered of a model's folder besides its place: its README.md. Nothing of a repository."""
    file = folder / "README.md"
    if not (folder.is_absolute() and file.is_file()):
        return {}
    return {"readme": file.read_text("utf-8", "replace")[:_MAX_README_LENGTH]}


class Catalog:
    """Entries by their names, in any case."""

    def __init__(self, entries: dict[str, Entry]) -> None:
        self._entries = entries

    @classmethod
    def load(cls, *files: Path) -> Self:
        """What these files say together; the later ones go before the earlier ones.

        Raises `CatalogInvalid`.
        """
        return cls({entry.name.lower(): entry for file in files for entry in _read(file)})

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def find(self, name: str) -> Entry:
        """The entry of this name, or the only one of this name whoever owns it. Raises `NotInCatalog`."""
        matching = self._matching(name)
        if len(matching) == 1:
            return matching[0]
        raise NotInCatalog(f"The catalog has no model {name!r}{self._hint(name)}.")

    def pin(self, name: str, revision: str) -> None:
        """Let the entry of this name be of another revision, which its version is called by, too.

        Raises `NotInCatalog`.
        """
        entry = self.find(name)
        pinned = entry.model_copy(update={"revision": revision, "version": revision})
        self._entries[entry.name.lower()] = pinned

    def select(self, patterns: list[str]) -> list[Entry]:
        """The entries that any of the patterns means, such as `demo/*` or `gpt2`. Raises `NotInCatalog`.

        What a package would bring that is not installed counts only where it is named.
        """
        chosen: dict[str, Entry] = {}
        for pattern in patterns:
            matching = self._matching(pattern)
            if not matching:
                raise NotInCatalog(f"The catalog has no model {pattern!r}{self._hint(pattern)}.")
            is_name = not set("*?[") & set(pattern)
            chosen |= {entry.name: entry for entry in matching if is_name or entry.is_here()}
        return list(chosen.values())

    def _matching(self, pattern: str) -> list[Entry]:
        wanted = pattern.lower()
        if "/" not in wanted:
            wanted = f"*/{wanted}"
        return [entry for name, entry in self._entries.items() if fnmatchcase(name, wanted)]

    def _hint(self, name: str) -> str:
        names = [entry.name for entry in self]
        near = get_close_matches(name, [*names, *(one.partition("/")[2] for one in names)], n=1)
        return f" (did you mean {near[0]}?)" if near else ""


def _read(file: Path) -> list[Entry]:
    """The entries of a file, with their folders' places. Raises `CatalogInvalid`."""
    try:
        text = file.read_text()
        content = _named(json.loads(text), file) if file.suffix == ".json" else yaml.safe_load(text)
        document = Document.model_validate(content or {"models": []})
    except OSError as error:
        raise CatalogInvalid(f"{file} cannot be read: {error.strerror}.") from error
    except json.JSONDecodeError as error:
        raise CatalogInvalid(f"{file} is not JSON: {error}.") from error
    except yaml.YAMLError as error:
        raise CatalogInvalid(f"{file} is not YAML: {' '.join(str(error).split())}.") from error
    except ValidationError as error:
        raise CatalogInvalid(f"{file}: {_explain(error, content)}.") from None
    names = [entry.name.lower() for entry in document.models]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise CatalogInvalid(f"{file}: {twice[0]}: stands there twice.")
    return [entry.model_copy(update={"path": _located(entry.path, file)}) for entry in document.models]


def _named(paths: Any, file: Path) -> Any:
    """A catalog's content out of names and paths, which models of texts have.

    A path is looked for from the folder that holds `config/`; what is not there is a repository of the hub.
    """
    if not isinstance(paths, dict) or not all(isinstance(path, str) for path in paths.values()):
        raise CatalogInvalid(f"{file}: must be an object of names and paths.")
    folder = file.absolute().parent.parent
    models = [
        {
            "name": name if "/" in name else f"{LOCAL}/{name}",
            "type": "text-generation",
            "path": str(folder / path) if (folder / path).exists() else path,
        }
        for name, path in paths.items()
    ]
    return {"models": models}


def _located(path: str, file: Path) -> str:
    if path.startswith("."):
        return str((file.parent / path).resolve())
    return str(Path(path).expanduser()) if path.startswith("~") else path


def _explain(error: ValidationError, document: Any) -> str:
    """What is wrong, each by its entry's name and its field."""
    problems = []
    for problem in error.errors():
        place = [str(part) for part in problem["loc"]]
        if place[:1] == ["models"] and len(place) > 1:
            given = document["models"][int(place[1])]
            name = given.get("name") if isinstance(given, dict) else None
            place = [str(name or f"entry {int(place[1]) + 1}"), *([".".join(place[2:])] if place[2:] else [])]
        problems.append(": ".join([*place, problem["msg"].removeprefix("Value error, ")]))
    return "; ".join(problems)
