"""Directories of ipc sockets: private to this user, valid even after a rename, and removed."""

import fcntl
import os
import shutil
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from amoc_gevent.errors import AmocError
from amoc_gevent.socket_paths import owner_name, socket_parent

PREFIX = "amoc_"
IPC = "ipc://"

_held: dict[tuple[int, int], int] = {}
"""Descriptors of the directories of ipc sockets, by device and inode. They stay open until this
process ends, because ZeroMQ's own thread uses them at each reconnect and after a close."""


def zmq_address(endpoint: str) -> str:
    """Return the address for ZeroMQ, which names an ipc file through its directory's descriptor.

    The path may then be longer than a socket address, and renames of its parts do no harm. Raises
    AmocError if the directory is not private to this user.
    """
    if not endpoint.startswith(IPC):
        return endpoint
    path = Path(endpoint.removeprefix(IPC))
    directory = open_private(path.parent)
    found = os.fstat(directory)
    held = _held.setdefault((found.st_dev, found.st_ino), directory)
    if held != directory:
        os.close(directory)
    return f"{IPC}/proc/self/fd/{held}/{path.name}"


def open_private(path: Path) -> int:
    """Return a descriptor of a directory that only this user can enter.

    Raises AmocError for any other directory, and for a link.
    """
    try:
        directory = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise AmocError(f"{path} cannot hold sockets: {error.strerror}") from error
    found = os.fstat(directory)
    if found.st_uid == os.geteuid() and not stat.S_IMODE(found.st_mode) & 0o077:
        return directory
    os.close(directory)
    ours = found.st_uid == os.geteuid()
    raise AmocError(
        f"{path} is for private sockets: it must belong to you with mode 0700, not to "
        f"{owner_name(found.st_uid)} with mode {stat.S_IMODE(found.st_mode):04o}; "
        + (f"chmod 700 {path}" if ours else "remove it")
    )


class SocketDirectory:
    """A directory of mode 0700 for ipc sockets: the permanent one at `path`, or a temporary one.

    `close` removes a temporary directory. It is locked while its process lives, so the next command
    can remove the directories of killed processes. A daemon uses a directory in its home, because
    runtime directories are removed at logout and old files in /tmp are cleaned up.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._lock = -1
        if path is not None:
            self.path, self._permanent = path, True
            return
        self._permanent = False
        parent = socket_parent()
        remove_abandoned(parent)
        made = Path(tempfile.mkdtemp(prefix=f".{PREFIX}", dir=parent))
        self._lock = os.open(made, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.path = made.rename(made.with_name(made.name[1:]))  # only now may others try its lock

    def endpoint(self, name: str) -> str:
        """Return the ZeroMQ address of the socket `name` in this directory."""
        return f"{IPC}{self.path / name}"

    def close(self) -> None:
        """Remove the directory if it is temporary. This is idempotent."""
        if self._permanent:
            return
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def remove_abandoned(parent: Path) -> None:
    """Remove the socket directories in `parent` whose process has ended without removing them."""
    for left in parent.glob(f"{PREFIX}*"):
        with suppress(OSError):  # another process removes it too, or it belongs to another user
            lock = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                if os.fstat(lock).st_uid != os.geteuid():  # root could remove it, but must not
                    continue
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left, ignore_errors=True)
            finally:
                os.close(lock)
