"""Becomes a command whose life is tied to its parent's, and that root may run as somebody else.

Run as a script by `cli.spawn`, so it imports nothing of ours:
`tether.py PARENT_PID SIGNAL IDENTITY COMMAND…`. An identity is `self`, `user:UID:GID`, or `namespace:UID`,
which keeps the files of the present user within reach but makes the command believe that it runs as UID
(user_namespaces(7)). A thread-safe `preexec_fn`.
"""

import ctypes
import os
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1
CLONE_NEWUSER = 0x10000000


def _system_call(name: str, *arguments: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if getattr(library, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def enter_namespace(uid: int) -> None:
    """See the present user, and no other, as `uid`. Raises OSError where the kernel does not permit it."""
    outside_uid, outside_gid = os.geteuid(), os.getegid()
    _system_call("unshare", CLONE_NEWUSER)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{uid} {outside_uid} 1")
    Path("/proc/self/gid_map").write_text(f"{uid} {outside_gid} 1")


def become(identity: str) -> None:
    """Take on the identity for good."""
    kind, *numbers = identity.split(":")
    if kind == "namespace":
        enter_namespace(int(numbers[0]))
    elif kind == "user":
        os.setgroups([])
        os.setgid(int(numbers[1]))
        os.setuid(int(numbers[0]))


def main() -> None:
    parent_pid, death_signal, identity, *command = sys.argv[1:]
    become(identity)
    if int(death_signal) and sys.platform == "linux":
        # After the change of identity, which would clear it.
        _system_call("prctl", PR_SET_PDEATHSIG, int(death_signal))
        if os.getppid() != int(parent_pid):
            sys.exit("The parent had gone before its child began.")
    os.execvp(command[0], command)  # noqa: S606


if __name__ == "__main__":
    main()
