"""Directories of ipc sockets: private to this user, found again after a rename, and removed."""

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
"""Descriptors of the directories of ipc sockets, by device and inode, until this process ends:
ZeroMQ's own thread looks there whenever it connects anew, and after a socket is closed."""


def reached(endpoint: str) -> str:
    """Return the address for ZeroMQ: a socket's file is named through its directory's descriptor.

    So a path may be longer than a socket's address, and whoever renames what the path leads through
    does not change where it leads to. Raises AmocError where the directory is not ours alone.
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
    """Return a descriptor of a directory that this user alone can enter, no link to one.

    Raises AmocError for any other.
    """
    try:
        directory = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise AmocError(f"no sockets can be in {path}: {error.strerror}") from error
    found = os.fstat(directory)
    if found.st_uid == os.geteuid() and not stat.S_IMODE(found.st_mode) & 0o077:
        return directory
    os.close(directory)
    ours = found.st_uid == os.geteuid()
    raise AmocError(
        f"{path} holds sockets that nobody else may reach: it must be yours and of mode 0700, not "
        f"{owner_name(found.st_uid)}'s and of mode {stat.S_IMODE(found.st_mode):04o}; "
        + (f"chmod 700 {path}" if ours else "remove it")
    )


class SocketDirectory:
    """A directory of mode 0700 for ipc sockets, removed by `close`, or one at `path`, which stays.

    One of a passing command is locked while its process lives: those of processes that were killed
    before they could remove theirs go when one is made. A daemon's is in its home: a user's runtime
    directory goes when that user logs out, and what is in /tmp for long is cleaned away.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._lock = -1
        if path is not None:
            self.path, self._stays = path, True
            return
        self._stays = False
        parent = socket_parent()
        remove_abandoned(parent)
        made = Path(tempfile.mkdtemp(prefix=f".{PREFIX}", dir=parent))
        self._lock = os.open(made, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.path = made.rename(made.with_name(made.name[1:]))  # only now others may look at it

    def endpoint(self, name: str) -> str:
        """Return the ZeroMQ address of the socket `name` in this directory."""
        return f"{IPC}{self.path / name}"

    def close(self) -> None:
        """Remove the directory, if it was made here; closing twice does no harm."""
        if self._stays:
            return
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def remove_abandoned(parent: Path) -> None:
    """Remove the socket directories in `parent` whose process has ended without removing them."""
    for left in parent.glob(f"{PREFIX}*"):
        with suppress(OSError):  # another one removes it too, or it is another user's
            lock = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                if os.fstat(lock).st_uid != os.geteuid():  # root could, and has no business there
                    continue
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left, ignore_errors=True)
            finally:
                os.close(lock)
