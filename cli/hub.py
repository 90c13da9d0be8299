"""Downloads models from the Hugging Face Hub, or from another server that HF_ENDPOINT names."""

from __future__ import annotations

from pathlib import Path

import httpx
from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from cli.errors import Fault

#: Weights and what describes them. No pickles: loading one runs whatever its author wrote.
SAFE_FILES = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja", "*.md")


class DownloadFailed(Fault):
    """The repository could not be downloaded."""


class NoSafeWeights(Fault):
    """The repository has no weights in the safetensors format."""


def download(repository: str, revision: str | None, cache: Path) -> tuple[Path, str]:
    """Download what is safe of a repository, with a progress bar; return its folder and its commit.

    Raises DownloadFailed, NoSafeWeights.
    """
    cache.mkdir(parents=True, exist_ok=True)
    try:
        folder = Path(
            snapshot_download(repository, revision=revision, cache_dir=cache, allow_patterns=list(SAFE_FILES))
        )
    except GatedRepoError:
        reason = "its authors ask you to accept their terms first; then set HF_TOKEN"
    except RepositoryNotFoundError:
        reason = "there is no such repository, or HF_TOKEN does not open it"
    except RevisionNotFoundError:
        reason = f"it has no revision {revision}"
    except (LocalEntryNotFoundError, HfHubHTTPError, httpx.HTTPError, OSError) as error:
        reason = str(error.__cause__ or error).splitlines()[0]
    else:
        if not any(folder.rglob("*.safetensors")):
            raise NoSafeWeights(f"{repository} has no safetensors weights, and Augury loads no pickles.")
        return folder, folder.name
    raise DownloadFailed(f"{repository} could not be downloaded: {reason}.")
