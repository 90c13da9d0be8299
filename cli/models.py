"""Adds models to a running server: from a folder, or from a repository that is downloaded first."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from cli.client import Client
from cli.data_directory import DataDirectory
from cli.errors import Fault
from cli.settings import ClientSettings, LaunchSettings

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")


class NoServerKnown(Fault):
    """Neither the data directory nor the environment says which server to talk to."""


class NoSuchModelFolder(Fault):
    """The path is neither a folder nor the name of a repository."""


class IncompleteName(Fault):
    """A model's name has an owner and a name, with a slash between."""


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


def add(
    data: DataDirectory, name: str, model_type: str, path: str, revision: str | None, description: str
) -> dict[str, Any]:
    """Register `owner/name` and return what the server says of it. Raises Fault."""
    owner, slash, short_name = name.partition("/")
    if not (owner and slash and short_name):
        raise IncompleteName(f"{name!r} is not of the form OWNER/NAME.")
    with connect(data) as client:
        client.me()  # a download is long: refuse before it what would be refused after it
        folder, commit = _fetch(data, path, revision)
        return client.add_model(
            {
                "owner": owner,
                "name": short_name,
                "description": description,
                "model_type": model_type,
                "model_path": str(folder),
                **({"revision": commit, "version": commit[:12]} if commit else {}),
            }
        )


def _fetch(data: DataDirectory, path: str, revision: str | None) -> tuple[Path, str | None]:
    """The model's folder, and the commit it was downloaded at."""
    folder = Path(path).expanduser()
    if folder.is_dir():
        return folder.resolve(), None
    if not _REPOSITORY.fullmatch(path):
        raise NoSuchModelFolder(f"{path} is neither a folder nor a repository's name such as owner/name.")
    from cli.hub import download

    cache = LaunchSettings().model_cache_dir or data.models
    return download(path, revision, cache)
