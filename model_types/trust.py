"""Which weights and whose code an administrator lets run here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from model_types.errors import ModelUnavailable

DIGEST = "sha256:"
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Trust:
    """The paths whose pickles and code may run: prefixes of paths or repositories, or `sha256:` digests.

    A prefix ends where a name does: `acme/` or `acme/detector` allow `acme/detector`, `acme/det` does not.
    Folders are compared as they really are, with links and `..` followed; `/` is any folder. A repository
    that is trusted by its name needs a revision, so that nobody can change what was trusted; a digest is
    of what is in a file or a folder, wherever it lies.
    """

    allowed: Sequence[str] = ()

    def require(self, path: str, what: str, *, revision: str | None = None) -> None:
        """Raise `ModelUnavailable` unless `path`, a file, a folder or a repository, may run `what`."""
        place = Path(path).expanduser()
        is_local = place.exists()
        name = str(place.resolve()) if is_local else path
        if any(_covers(prefix, name) for prefix in self.allowed):
            if is_local or revision:
                return
            raise ModelUnavailable(f"{path} is trusted only with a revision: {what} could change under it")
        digest = digest_of(place) if is_local else None
        if digest is not None and digest in self.allowed:
            return
        hint = f" or {digest}" if digest else ""
        raise ModelUnavailable(
            f"{path} needs {what}, which can run any code: an administrator may allow it by adding {name}"
            f"{hint} to TRUSTED_MODELS"
        )


def digest_of(place: Path) -> str:
    """`sha256:` and the digest of a file, or of a folder's files with their names, in hex.

    Links to files count as what they lead to. Raises `ModelUnavailable` for a link to a folder, whose files
    a digest would not see.
    """
    if place.is_file():
        return DIGEST + _file_digest(place)
    whole = sha256()
    for file in sorted(place.rglob("*")):
        if file.is_symlink() and file.is_dir():
            raise ModelUnavailable(f"{file} is a link to a folder: what it leads to has no digest here")
        if file.is_file() and "__pycache__" not in file.parts:
            whole.update(f"{file.relative_to(place).as_posix()}\0{_file_digest(file)}\n".encode())
    return DIGEST + whole.hexdigest()


def _covers(prefix: str, name: str) -> bool:
    """Whether a name is the prefix or lies under it; only what begins like a path is one."""
    if prefix.startswith(("/", "~")):
        prefix = str(Path(prefix).expanduser().resolve())
    elif not prefix or prefix.startswith(DIGEST) or ".." in name.split("/"):
        return False
    return name == prefix.rstrip("/") or name.startswith(prefix.rstrip("/") + "/")


def _file_digest(file: Path) -> str:
    digest = sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
