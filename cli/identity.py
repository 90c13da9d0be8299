"""Who runs PostgreSQL: it refuses root, and another user cannot enter root's private folders."""

from __future__ import annotations

import hashlib
import os
import pwd
import secrets
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cli.spawn import tethered

#: Where root may keep what another user has to reach.
REFUGE = Path("/var/lib/augury")
_FALLBACK_UID = 65_534


@dataclass(frozen=True, slots=True)
class Identity:
    """A user for a server: how `cli.tether` takes it on, and who has to own the server's files."""

    tether: str
    uid: int
    gid: int

    @property
    def is_another_user(self) -> bool:
        """Whether files and folders have to be made reachable for it."""
        return self.uid != os.geteuid()


@cache
def server_identity() -> Identity:
    """Ourselves; as root an unprivileged disguise of ourselves; where that is not permitted, `nobody`."""
    uid, gid = os.geteuid(), os.getegid()
    if uid != 0:
        return Identity("self", uid, gid)
    try:
        nobody = pwd.getpwnam("nobody")
        nobody_uid, nobody_gid = nobody.pw_uid, nobody.pw_gid
    except KeyError:
        nobody_uid = nobody_gid = _FALLBACK_UID
    disguise = f"namespace:{nobody_uid}"
    if _is_permitted(disguise):
        return Identity(disguise, uid, gid)
    return Identity(f"user:{nobody_uid}:{nobody_gid}", nobody_uid, nobody_gid)


def _is_permitted(disguise: str) -> bool:
    command = tethered([sys.executable, "-I", "-S", "-c", ""], identity=disguise)
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def can_enter(identity: Identity, path: Path) -> bool:
    """Whether that user may walk down to `path`."""
    command = tethered(["/bin/sh", "-c", 'cd -- "$1"', "sh", path], identity=identity.tether)
    return subprocess.run(command, capture_output=True, check=False, cwd="/").returncode == 0


def reachable_data(identity: Identity, directory: Path, refuge: Path) -> Path:
    """Give `directory` to the identity, and return it.

    Where the identity cannot reach it, the data live in the refuge instead, and `directory` becomes a link.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not can_enter(identity, directory.resolve().parent):
        refuge.mkdir(mode=0o755, parents=True, exist_ok=True)
        place = refuge / f"data-{secrets.token_hex(8)}"
        shutil.move(directory, place)
        directory.symlink_to(place)
    directory = directory.resolve()
    _give(directory, identity)
    return directory


def _give(directory: Path, identity: Identity) -> None:
    """Hand a whole folder over, unless it is the identity's already."""
    if directory.stat().st_uid == identity.uid:
        return
    for path in (*directory.rglob("*"), directory):
        os.chown(path, identity.uid, identity.gid, follow_symlinks=False)


def reachable_binary(identity: Identity, binary: Path, refuge: Path) -> Path:
    """The binary where the identity may run it: in its package, or in a copy of the package in the refuge."""
    if can_enter(identity, binary.parent):
        return binary
    site_packages = next(parent for parent in binary.parents if parent.name == "site-packages")
    package = binary.relative_to(site_packages).parts[0]
    version = hashlib.sha256(f"{binary}:{binary.stat().st_mtime_ns}".encode()).hexdigest()[:16]
    copy = refuge / f"{package}-{version}"
    if not copy.exists():
        unfinished = copy.with_name(f"{copy.name}.{os.getpid()}")
        for folder in (package, f"{package}.libs"):
            if (site_packages / folder).is_dir():
                shutil.copytree(site_packages / folder, unfinished / folder)
        unfinished.rename(copy)
    return copy / binary.relative_to(site_packages)
