"""Brings models to a running server: from the catalog, from a folder, or from a repository."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.catalog import DEMO, NAMES_AND_PATHS, OWN_NAME, SHIPPED, Catalog, Entry, NotInCatalog, about
from cli.client import Client
from cli.data_directory import DataDirectory
from cli.errors import Fault
from cli.settings import CatalogSettings, ClientSettings, LaunchSettings
from model_types import custom
from model_types.errors import ModelUnavailable

if TYPE_CHECKING:
    from cli.hub import Source

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)*")


class NoServerKnown(Fault):
    """Neither the data directory nor the environment says which server to talk to."""


class NoSuchModelFolder(Fault):
    """The path is neither a folder nor the name of a repository."""


class IncompleteName(Fault):
    """A model's name has an owner and a name, with a slash between."""


class UnusableClass(Fault):
    """The path of a custom model does not name a class that could be one."""


class NothingToPull(Fault):
    """The model's weights do not come from a hub."""


def connect(data: DataDirectory) -> Client:
    """A client of the server that AUGURY_URL names, else of the one in the data directory.

    Raises NoServerKnown.
    """
    settings = ClientSettings()
    if settings.url:
        return Client(settings.url, settings.token)
    credentials = data.credentials()
    if credentials is None:
        raise NoServerKnown(
            f"{data.path} has no credentials.json: start a server with `augury up`, "
            f"or name one with AUGURY_URL and AUGURY_TOKEN."
        )
    return Client(credentials.url, settings.token or credentials.api_token)


def catalog(data: DataDirectory) -> Catalog:
    """The shipped catalog and the operator's own: MODELS_FILE, or models.yaml here or in the data directory.

    Between them stands config/model_config.json here, where it is. MODEL_ID has the REVISION that is set.
    Raises CatalogInvalid, NotInCatalog.
    """
    settings = CatalogSettings()
    given = settings.models_file
    own = [given] if given else [Path(OWN_NAME).absolute(), data.path / OWN_NAME]
    chosen = [file for file in own if file == given or file.is_file()][:1]
    named = [file for file in [NAMES_AND_PATHS.absolute()] if file.is_file()]
    found = Catalog.load(SHIPPED, *named, *chosen)
    if settings.model_id and settings.revision:
        found.pin(settings.model_id, settings.revision)
    return found


def add(data: DataDirectory, name: str, model_type: str, path: str, **more: str | None) -> dict[str, Any]:
    """Register `owner/name` of a type from a folder or a repository; what the server says of it.

    The path of a custom model names its class, which is imported here. `more` may hold `engine`,
    `revision` and `description`. Raises Fault.
    """
    owner, slash, short_name = name.partition("/")
    if not (owner and slash and short_name):
        raise IncompleteName(f"{name!r} is not of the form OWNER/NAME.")
    with connect(data) as client:
        client.me()  # a download is long: refuse before it what would be refused after it
        body = {"owner": owner, "name": short_name, "model_type": model_type}
        if model_type == custom.INFO.name:
            place = _described(path)
        else:
            folder, commit = _fetch(data, path, more.pop("revision", None))
            pinned = {"revision": commit, "version": commit[:12]} if commit else {}
            place = {"model_path": str(folder), **pinned, **about(folder)}
        return client.add_model({**body, **{key: value for key, value in more.items() if value}, **place})


def add_entry(data: DataDirectory, name: str) -> dict[str, Any]:
    """Register an entry of the catalog, whose weights are pulled first; what the server says of it.

    Raises Fault.
    """
    entry = catalog(data).find(name)
    with connect(data) as client:
        client.me()
        if _source_of(entry):
            pull(data, entry.name)
        return client.add_model(_registration(data, entry))


def pull(data: DataDirectory, name: str, revision: str | None = None) -> tuple[Path, str]:
    """Download an entry of the catalog, or any repository; its folder and commit. Raises Fault."""
    from cli.hub import Source, download

    try:
        source = _source_of(catalog(data).find(name))
    except NotInCatalog:
        if not _REPOSITORY.fullmatch(name):
            raise
        source = Source.of(name)
    if source is None:
        raise NothingToPull(f"The weights of {name} do not come from a hub.")
    if revision:
        source = Source(source.repository, source.files, revision)
    return download(source, cache_of(data), _token())


def sync(data: DataDirectory, client: Client, entries: Iterable[Entry]) -> list[Fault]:
    """Register these entries as the catalog has them now; why some could not be.

    What has been pulled is pinned to the commit that lies there.
    """
    faults = []
    for entry in entries:
        try:
            client.add_model(_registration(data, entry))
        except Fault as fault:
            faults.append(Fault(f"{entry.name}: {fault.message.removeprefix(f'{entry.name}: ')}"))
    return faults


def selected(data: DataDirectory, patterns: Sequence[str] = ()) -> list[Entry]:
    """The catalog's entries that are to be registered: by `patterns`, else by MODELS, else the demo models.

    Raises CatalogInvalid, NotInCatalog.
    """
    return catalog(data).select(list(patterns) or list(CatalogSettings().chosen) or [DEMO])


def remove(data: DataDirectory, client: Client, name: str, *, weights: bool) -> int:
    """Delete a model, and what was downloaded for it alone; the bytes that this has freed. Raises Fault."""
    from cli.hub import Source, delete

    path = client.model(name)["model_path"] or "/"
    client.delete_model(name)
    if not weights or path.startswith("/"):
        return 0
    repository = Source.of(path).repository
    others = (Source.of(str(model["model_path"])).repository for model in client.models())
    return 0 if repository in others else delete(repository, cache_of(data))


def cache_of(data: DataDirectory) -> Path:
    """Where downloaded models lie."""
    return LaunchSettings().model_cache_dir or data.models


def _registration(data: DataDirectory, entry: Entry) -> dict[str, Any]:
    from cli.hub import pulled_commit

    source = _source_of(entry)
    return entry.registration(pulled_commit(source, cache_of(data)) if source else None)


def _source_of(entry: Entry) -> Source | None:
    from cli.hub import Source

    if entry.repository is None:
        return None
    return Source.of(entry.repository, revision=entry.revision, files=entry.files)


def _token() -> str | None:
    token = LaunchSettings().hf_token
    return token.get_secret_value() if token else None


def _described(path: str) -> dict[str, Any]:
    """A custom model's path as the lanes of this machine find it, and its class's schemas."""
    from model_types.custom.finding import Place, schemas

    try:
        place = Place.of(path)
        return {"model_path": str(place) if place.file else path, **schemas(path)}
    except ModelUnavailable as error:
        raise UnusableClass(str(error)) from error


def _fetch(data: DataDirectory, path: str, revision: str | None) -> tuple[Path, str | None]:
    """The model's folder, and the commit it was downloaded at."""
    folder = Path(path).expanduser()
    if folder.exists():
        return folder.resolve(), None
    if not _REPOSITORY.fullmatch(path):
        raise NoSuchModelFolder(f"{path} is neither a folder nor a repository's name such as owner/name.")
    from cli.hub import Source, download

    return download(Source.of(path, revision=revision), cache_of(data), _token())
