"""Downloads models from the Hugging Face Hub, or from another server that HF_ENDPOINT names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import get_token, scan_cache_dir, snapshot_download
from huggingface_hub.errors import (
    CacheNotFound,
    GatedRepoError,
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


@dataclass(frozen=True, slots=True)
class Source:
    """What is to be had from the hub: a repository, `owner/name`, or one file of it, `owner/name/file`."""

    repository: str
    files: tuple[str, ...] = ()
    revision: str | None = None

    @classmethod
    def of(cls, path: str, *, revision: str | None = None, files: Sequence[str] | None = None) -> Source:
        """What `path` means; `files` are patterns of the files that are wanted, unless it names one."""
        repository, file = "/".join(path.split("/")[:2]), "/".join(path.split("/")[2:])
        return cls(repository, (file,) if file else tuple(files or ()), revision)


def download(source: Source, cache: Path, token: str | None = None) -> tuple[Path, str]:
    """Download what is safe of a repository, or the files that are asked for, with a progress bar.

    Returns its folder and its commit. Raises DownloadFailed, NoSafeWeights.
    """
    repository = source.repository
    try:
        cache.mkdir(parents=True, exist_ok=True)
        folder = Path(
            snapshot_download(
                repository,
                revision=source.revision,
                cache_dir=cache,
                allow_patterns=list(source.files or SAFE_FILES),
                token=token or get_token() or False,
            )
        )
    except GatedRepoError:
        reason = "its authors ask you to accept their terms first; then set HF_TOKEN"
    except RepositoryNotFoundError:
        reason = "there is no such repository, or HF_TOKEN does not open it"
    except RevisionNotFoundError:
        reason = f"it has no revision {source.revision}"
    except Exception as error:  # Which HTTP library's errors these are changes with the hub's client.
        reason = _reason(error)
    else:
        if not source.files and not any(folder.rglob("*.safetensors")):
            raise NoSafeWeights(f"{repository} has no safetensors weights, and Augury loads no pickles.")
        if source.files and not any(path.is_file() for path in folder.rglob("*")):
            raise DownloadFailed(f"{repository} has none of the files {', '.join(source.files)}.")
        return folder, folder.name
    raise DownloadFailed(f"{repository} could not be downloaded: {reason}.")


def pulled_commit(source: Source, cache: Path) -> str | None:
    """The commit at which this was downloaded last, if it was."""
    folder = cache / f"models--{source.repository.replace('/', '--')}"
    wanted = source.revision or "main"
    if (folder / "snapshots" / wanted).is_dir():
        return wanted
    reference = folder / "refs" / wanted
    return reference.read_text().strip() if reference.is_file() else None


def delete(repository: str, cache: Path) -> int:
    """Delete what was downloaded of a repository; the number of bytes that this has freed."""
    try:
        found = scan_cache_dir(cache).repos
    except CacheNotFound:
        return 0
    commits = [
        revision.commit_hash for repo in found if repo.repo_id == repository for revision in repo.revisions
    ]
    plan = scan_cache_dir(cache).delete_revisions(*commits)
    plan.execute()
    return int(plan.expected_freed_size)


def _reason(error: Exception) -> str:
    """What was wrong, in one line, with the file that it was about as far as the hub's client tells."""
    cause = error.__cause__ or error
    response = getattr(error, "response", None) or getattr(cause, "response", None)
    if response is None:
        return (str(cause).splitlines() or [type(cause).__name__])[0].rstrip(".")
    _, _, place = str(response.url).partition("/resolve/")
    file = place.partition("/")[2].partition("?")[0]
    return f"{file or response.url}: the hub answers {response.status_code}"
